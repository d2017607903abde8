"""The table of layers on the page: sorted, searched and filtered in the browser, one selection with the figures."""

import json
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
from traitlets import Instance

from qdiag.report.cells import cell_text
from qdiag.report.colours import COLOURS
from qdiag.report.table import Column
from qdiag.workbench.layer_list import PARTS, LayerList
from qdiag.workbench.live_chart import CARRIER

FOLDED = {f"{part}_error_percent" for part in PARTS}
"""Columns that the page draws as the parts of one bar."""
DIGITS = 6


class LayerTable(anywidget.AnyWidget):
    """Every layer in a row. Rows are plain elements of the page: nothing is computed by the kernel to sort or search.

    What changes travels in widgets of ipywidgets' own, as `LiveChart` says why.

    Args:
        selection: Its value is the layer that the page is about; a click sets it.
    """

    _esm = Path(__file__).with_name("layer_table.js")
    _css = Path(__file__).with_name("layer_table.css")
    table = Instance(widgets.Label).tag(**CARRIER)
    """Its value is columns and rows, as JSON."""
    selection = Instance(widgets.Combobox).tag(**CARRIER)

    def __init__(self, selection: widgets.Combobox):
        super().__init__(table=widgets.Label(""), selection=selection)

    def show(self, layers: LayerList) -> None:
        """Other rows in place of those before; sorting, search and filter stay as they are."""
        self.table.value = table_json(layers)


def table_json(layers: LayerList) -> str:
    """What the page is told: every cell as text, numbers beside it to sort by, and the parts of each error."""
    columns, rows = layers.table.columns, layers.table.rows
    shown = [index for index, column in enumerate(columns) if column.key not in FOLDED]
    folded = [index for index, column in enumerate(columns) if column.key in FOLDED]
    return json.dumps(
        {
            "columns": [_column(columns[index]) for index in shown],
            "texts": [[cell_text(row[index], columns[index].format) for index in shown] for row in rows],
            "values": [[_number(row[index]) for index in shown] for row in rows],
            "bars": [[_number(row[index]) for index in folded] for row in rows],
            "parts": [{"name": part, "colour": COLOURS[part], "help": text} for part, text in PARTS.items()],
            "culprits": layers.culprits,
            "file": f"{layers.model_name}_layers.csv",
        }
    )


def _column(column: Column) -> dict[str, str]:
    return {"key": column.key, "title": column.heading, "help": column.help, "align": column.align}


def _number(cell: Any) -> float | str | None:
    """JSON has no infinity: it goes as its text, which the page reads."""
    if not isinstance(cell, int | float):
        return None
    rounded = float(f"{cell:.{DIGITS}g}") if isinstance(cell, float) else cell
    return rounded if abs(rounded) < float("inf") else str(rounded)
