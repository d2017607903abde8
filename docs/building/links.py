"""Names in backticks become links to their place in the reference."""

import re
from functools import cache

from docs.building.reference_pages import PAGES, canonical

_FENCE = re.compile(r"(^[ \t]*```.*?^[ \t]*```[ \t]*$)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?<![\[`\w])`(?:qdiag\.)?(\w+)(\(\))?`(?!\]|`)")


@cache
def _places() -> dict[str, str]:
    return {value.__name__: canonical(value) for page in PAGES for value in page.values}


def linked(markdown: str, *, indented: bool = False) -> str:
    """Links in place of public names, outside of code, headings and other links' texts.

    indented: what stands after four spaces is text, as in a docstring, and no code.
    """
    code = ("#", ">>>", "...") if indented else ("#", ">>>", "    ")
    return "".join(part if number % 2 else _replaced(part, code) for number, part in enumerate(_FENCE.split(markdown)))


def _replaced(text: str, code: tuple[str, ...]) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line if line.startswith(code) else _NAME.sub(_link, line) for line in lines)


def _link(found: re.Match[str]) -> str:
    place = _places().get(found[1])
    return found[0] if place is None else f"[{found[0]}][{place}]"
