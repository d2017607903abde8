"""**bold** and `code` inside a text, and nothing else: layer names are full of characters that Markdown would take."""

import re
from dataclasses import dataclass
from typing import Literal

_MARKS = re.compile(r"\*\*(?P<bold>.+?)\*\*|`(?P<code>[^`]+)`", re.DOTALL)


@dataclass(frozen=True)
class Span:
    """A run of characters in one style."""

    text: str
    style: Literal["plain", "bold", "code"] = "plain"


def paragraphs(text: str) -> list[list[Span]]:
    """The spans of each paragraph; line breaks within a paragraph become spaces."""
    return [spans(" ".join(part.split())) for part in re.split(r"\n\s*\n", text.strip())]


def spans(text: str) -> list[Span]:
    """One paragraph.

    >>> [(s.text, s.style) for s in spans("use **ReLU** after `conv_1`")]
    [('use ', 'plain'), ('ReLU', 'bold'), (' after ', 'plain'), ('conv_1', 'code')]
    """
    found, end = [], 0
    for match in _MARKS.finditer(text):
        found.append(Span(text[end : match.start()]))
        bold = match["bold"]
        found.append(Span(bold, "bold") if bold else Span(match["code"], "code"))
        end = match.end()
    found.append(Span(text[end:]))
    return [span for span in found if span.text]
