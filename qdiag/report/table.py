"""A table as plain data."""

from dataclasses import dataclass
from typing import Literal

from qdiag.errors import OptionError
from qdiag.report.cells import CELL_TYPES, Cell
from qdiag.report.numbers import with_unit


@dataclass(frozen=True)
class Column:
    """What a table says of one of its columns.

    key: its name in pandas and JSON, with the unit in it (`sqnr_db`). title, unit: as shown. format: of numbers, see
    `format_number`. align: numbers right. help: what it says, in a sentence.
    """

    key: str
    title: str
    unit: str = ""
    format: str = ""
    align: Literal["left", "right"] = "left"
    help: str = ""

    @property
    def heading(self) -> str:
        return with_unit(self.title, f"({self.unit})" if self.unit else "")


@dataclass(frozen=True)
class Table:
    """Rows of cells. key: what `to_pandas` calls it by. caption: what to look at.

    Raises OptionError where a row does not fit the columns.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    caption: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        keys = [column.key for column in self.columns]
        if len(set(keys)) < len(keys):
            raise OptionError(
                f"table {self.name!r}: two columns have one key, in {', '.join(keys)}.", code="report-content"
            )
        for number, row in enumerate(self.rows):
            self._check(number, row)

    @property
    def name(self) -> str:
        return self.key or self.title

    def _check(self, number: int, row: tuple[Cell, ...]) -> None:
        if len(row) != len(self.columns):
            raise OptionError(
                f"table {self.name!r}, row {number}: {len(row)} cells for {len(self.columns)} columns. "
                "Give one cell a column, None where there is nothing to show.",
                code="report-content",
            )
        for column, cell in zip(self.columns, row, strict=True):
            if not isinstance(cell, CELL_TYPES):
                raise OptionError(
                    f"table {self.name!r}, row {number}, column {column.key!r}: a cell cannot be a "
                    f"{type(cell).__name__}. Give a str, a number, None, Code, Badge or Place.",
                    code="report-content",
                )
