"""A table as a DataFrame."""

import pandas as pd

from qdiag.errors import OptionError
from qdiag.report.cells import Badge, Cell, Code, Place
from qdiag.report.elements import Report, walk
from qdiag.report.table import Table


def frame(table: Table) -> pd.DataFrame:
    """One row a row, named by the columns' keys. Numbers stay numbers; names, badges and places become their words."""
    rows = [[_plain(cell) for cell in row] for row in table.rows]
    return pd.DataFrame(rows, columns=[column.key for column in table.columns])


def report_frame(report: Report, key: str = "") -> pd.DataFrame:
    """The report's table of that key; its first one by default.

    Raises OptionError where there is none.
    """
    tables = [block for block in walk(report.blocks) if isinstance(block, Table)]
    for table in tables:
        if not key or table.key == key:
            return frame(table)
    keys = ", ".join(repr(table.key) for table in tables if table.key) or "none by name"
    raise OptionError(f"report {report.title!r} has no table {key!r}. There are: {keys}.", code="no-table")


def _plain(cell: Cell) -> str | float | None:
    match cell:
        case Code() | Badge():
            return cell.text
        case Place():
            return cell.full
        case _:
            return cell
