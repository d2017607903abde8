"""A table in a terminal: columns where they fit, else one record under the other."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rich import box
from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text as RichText

from qdiag.report.cells import Badge, Cell, Code, cell_text
from qdiag.report.levels import LEVELS
from qdiag.report.table import Column, Table
from qdiag.report.text_inline import render_inline

_MOST_ROWS = 40
_MOST_RECORDS = 12  # of numbers; a longer table is easier to read with its last columns left off
_GAP = 2  # blanks between two columns: one of padding, and the one that stands for a line
_LEAST_PROSE = 20  # narrower than this, running text is a pillar of single words
_PROSE = 40  # a text longer than this is a sentence, and what the reader came for


def render_table(table: Table, width: int, everything: bool = False) -> RenderableType:
    """The table within `width` columns; long ones cut off unless `everything`."""
    if not table.rows:
        return RichText("  (none)", style="dim")
    rows = table.rows if everything else table.rows[:_MOST_ROWS]
    cells = [[_render_cell(cell, column) for cell, column in zip(row, table.columns, strict=True)] for row in rows]
    layouts = [_lay_out(column, [row[i] for row in cells]) for i, column in enumerate(table.columns)]
    shown = _count_fitting(layouts, width)
    if shown < len(layouts) and (everything or len(rows) <= _MOST_RECORDS or _has_prose(table)):
        shown, body = len(layouts), _render_records(table, cells)
    else:
        body = _render_columns(table.columns[:shown], layouts[:shown], [row[:shown] for row in cells])
    return Group(body, *_left_off(table, len(rows), shown))


def _count_fitting(layouts: Sequence["_Layout"], width: int) -> int:
    """How many columns, counted from the first, can stand side by side."""
    ends = accumulate(layout.least + _GAP for layout in layouts)
    return max(1, sum(end - _GAP <= width for end in ends))


def _has_prose(table: Table) -> bool:
    return any(_is_prose(cell) for row in table.rows for cell in row)


def _is_prose(cell: Cell) -> bool:
    return isinstance(cell, str) and len(cell) > _PROSE


def _left_off(table: Table, rows: int, columns: int) -> list[RenderableType]:
    """What is not shown, and where it is to be had."""
    notes = [f"{len(table.rows) - rows} more rows"] if rows < len(table.rows) else []
    if columns < len(table.columns):
        notes.append("more columns: " + ", ".join(column.heading for column in table.columns[columns:]))
    where = ".print(everything=True) or .to_pandas()"
    return [RichText(f"… {'; '.join(notes)}; by {where}", style="dim")] if notes else []


@dataclass(frozen=True)
class _Layout:
    """heading: broken into lines. least: the narrowest the column can be. wraps: whether its cells may break."""

    heading: str
    least: int
    wraps: bool


def _lay_out(column: Column, cells: Sequence[RichText]) -> _Layout:
    widest = max(cell.cell_len for cell in cells)
    longest_word = max(map(cell_len, column.heading.split()), default=0)
    least = max(longest_word, min(widest, _LEAST_PROSE))
    lines = textwrap.wrap(column.heading, max(least, min(widest, _PROSE)))
    return _Layout("\n".join(lines), least, wraps=widest > _LEAST_PROSE)


def _render_columns(columns: Sequence[Column], layouts: Sequence[_Layout], cells: list[list[RichText]]) -> RichTable:
    made = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column, layout in zip(columns, layouts, strict=True):
        made.add_column(layout.heading, justify=column.align, no_wrap=not layout.wraps, overflow="fold", vertical="top")
    for row in cells:
        made.add_row(*row)
    return made


def _render_records(table: Table, cells: list[list[RichText]]) -> RenderableType:
    """The first cell leads; then come those of the others that hold something, short ones side by side."""
    records: list[RenderableType] = []
    for values, row in zip(table.rows, cells, strict=False):
        short: list[RichText] = []
        prose: list[RichText] = []
        for column, value, cell in list(zip(table.columns, values, row, strict=True))[1:]:
            if value is not None:
                labelled = RichText.assemble((f"{column.heading}: ", "dim"), cell)
                (prose if _is_prose(value) else short).append(labelled)
        lead = row[0].copy()
        lead.stylize("bold")
        records += ["", lead, Padding(Group(*_side_by_side(short), *prose), (0, 0, 0, 2))]
    return Group(*records[1:])


def _side_by_side(texts: list[RichText]) -> list[RenderableType]:
    return [Columns(texts, padding=(0, 3))] if texts else []


def _render_cell(cell: Cell, column: Column) -> RichText:
    text = cell_text(cell, column.format)
    match cell:
        case Code():
            return RichText(text, style="cyan")
        case Badge():
            return RichText(text, style=LEVELS[cell.level].terminal)
        case str():
            return render_inline(cell)
        case _:
            return RichText(text)
