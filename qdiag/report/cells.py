"""What a table cell may hold."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import get_args

from qdiag.report.levels import LEVELS, Level
from qdiag.report.numbers import format_number


@dataclass(frozen=True)
class Code:
    """A name or a piece of code, in monospace; in HTML a link where the page has a section of that anchor."""

    text: str


@dataclass(frozen=True)
class Badge:
    """A word with its level: shown as symbol, word and colour."""

    text: str
    level: Level

    @property
    def symbol(self) -> str:
        return LEVELS[self.level].symbol


@dataclass(frozen=True)
class Place:
    """A line of the user's code. short: as shown, by default the last two parts of the path and the line."""

    file: str
    line: int
    short: str = ""

    @property
    def shown(self) -> str:
        return self.short or f"{'/'.join(PurePath(self.file).parts[-2:])}:{self.line}"

    @property
    def full(self) -> str:
        return f"{self.file}:{self.line}"


# A string is marked up as in `Text`.
Cell = str | int | float | bool | None | Code | Badge | Place
CELL_TYPES: tuple[type, ...] = get_args(Cell)


def cell_text(cell: Cell, spec: str = "") -> str:
    """A cell in plain characters; `spec` formats numbers."""
    match cell:
        case str():
            return cell
        case Code():
            return cell.text
        case Badge():
            return f"{cell.symbol} {cell.text}"
        case Place():
            return cell.shown
        case _:
            return format_number(cell, spec)
