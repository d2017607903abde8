"""A report in a terminal: as wide as the terminal is, with colours only where it has them."""

import io
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.text import Text as RichText

from qdiag.report.chart import Chart
from qdiag.report.elements import Block, Callout, Fact, Facts, Gallery, Listing, Report, Section, Text
from qdiag.report.levels import LEVELS
from qdiag.report.numbers import format_number, with_unit
from qdiag.report.table import Table
from qdiag.report.text_charts import render_chart
from qdiag.report.text_inline import render_inline
from qdiag.report.text_tables import render_table

_WIDTH_WITHOUT_TERMINAL = 100


def render_text(report: Report, width: int | None = None, everything: bool = False) -> str:
    """The report in plain characters.

    width: in columns; by default the terminal's. everything: long tables in full, and collapsed sections open.
    """
    columns = width or shutil.get_terminal_size((_WIDTH_WITHOUT_TERMINAL, 24)).columns
    console = Console(file=io.StringIO(), width=columns, color_system=None, force_jupyter=False)
    with console.capture() as captured:
        print_text(report, console, everything)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def print_text(report: Report, console: Console, everything: bool = False) -> None:
    """Write the report to a rich console, with the colours that it has."""
    title = RichText(report.title, style="bold"), Rule(style="dim", characters="═")
    console.print(_Printable(Group(*title, *_render_blocks(report.blocks, console.width, everything))))


@dataclass(frozen=True)
class _Printable:
    """With what steers a terminal, as the name of a class or a file may hold it, written out."""

    shown: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.shown, options):
            text = _STEERS.sub(lambda found: ascii(found[0])[1:-1], segment.text)
            yield segment if segment.control else Segment(text, segment.style)


_STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _render_blocks(blocks: Sequence[Block], width: int, everything: bool) -> list[RenderableType]:
    """The blocks with an empty line between them; collapsed sections in a row are named in one."""
    parts: list[RenderableType] = []
    for shut, group in groupby(blocks, lambda block: _is_shut(block) and not everything):
        run = list(group)
        parts += [_name_shut(run)] if shut else [_render_block(block, width, everything) for block in run]
    return [piece for part in parts for piece in ("", part)][1:]


def _is_shut(block: Block) -> bool:
    return isinstance(block, Section) and block.collapsed


def _name_shut(blocks: Iterable[Block]) -> RenderableType:
    titles = ", ".join(block.title for block in blocks if isinstance(block, Section))
    return RichText(f"▸ more by .print(everything=True) or .to_html(): {titles}", style="dim")


def _render_block(block: Block, width: int, everything: bool) -> RenderableType:
    match block:
        case Text():
            return render_inline(block.text)
        case Listing():
            lines = RichText(block.text.strip("\n"), style="cyan", overflow="fold")
            return Group(*_title(block.title), Padding(lines, (0, 0, 0, 4)))
        case Callout():
            return _render_callout(block)
        case Facts():
            return Columns([_render_fact(fact) for fact in block.facts], padding=(0, 3))
        case Table():
            return Group(*_title(block.title), render_table(block, width, everything), *_caption(block.caption))
        case Chart():
            heading = f"{block.title}: {block.y_title}" if block.y_title else block.title
            return Group(*_title(heading), render_chart(block, width), *_caption(block.caption))
        case Gallery():
            return Group(*_title(block.title), *_render_pictures(block), *_caption(block.caption))
        case Section():
            rule = Rule(RichText(block.title, style="bold"), align="left", style="dim")
            return Group(rule, *_render_blocks(block.blocks, width, everything))


def _render_callout(block: Callout) -> RenderableType:
    style = LEVELS[block.level]
    headline = RichText(f"{style.symbol} {block.headline}", style=style.terminal)
    return Group(headline, Padding(render_inline(block.text), (0, 0, 0, 2))) if block.text else headline


def _render_pictures(gallery: Gallery) -> list[RenderableType]:
    """What is said of each: a terminal shows no image."""
    lines: list[RenderableType] = []
    for picture in gallery.pictures:
        symbol = f"{LEVELS[picture.level].symbol} " if picture.level else ""
        style = LEVELS[picture.level].terminal if picture.level else "bold"
        lines.append(RichText.assemble("  ", (f"{symbol}{picture.title}", style), "  ", render_inline(picture.text)))
    return lines


def _render_fact(fact: Fact) -> RichText:
    value = fact.value if isinstance(fact.value, str) else format_number(fact.value, fact.format)
    text = RichText(f"{fact.label} ", style="dim")
    if fact.level:
        text.append(f"{LEVELS[fact.level].symbol} ", style=LEVELS[fact.level].terminal)
    return text.append(with_unit(value, fact.unit), style="not dim bold")


def _title(title: str) -> list[RenderableType]:
    return [RichText(title, style="bold")] if title else []


def _caption(caption: str) -> list[RenderableType]:
    return [render_inline(caption, "italic dim")] if caption else []
