"""Marked-up text in a terminal."""

from rich.text import Text as RichText

from qdiag.report.inline import Span, paragraphs

_STYLES = {"plain": "", "bold": "bold", "code": "cyan"}


def render_inline(text: str, style: str = "") -> RichText:
    """Paragraphs with an empty line between them."""
    parts = [RichText.assemble(*map(_styled, spans), style=style) for spans in paragraphs(text)]
    return RichText("\n\n").join(parts)


def _styled(span: Span) -> tuple[str, str]:
    """Code keeps its backquotes: without colour they are all that marks it."""
    text = f"`{span.text}`" if span.style == "code" else span.text
    return text, _STYLES[span.style]
