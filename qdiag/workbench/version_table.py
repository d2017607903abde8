"""The versions on the page: one is selected, several are chosen to be compared."""

import json
from pathlib import Path

import anywidget
import ipywidgets as widgets
from traitlets import Instance

from qdiag.report.cells import cell_text
from qdiag.workbench.live_chart import CARRIER
from qdiag.workbench.version_list import VersionList


class VersionTable(anywidget.AnyWidget):
    """A row for each version; what changes travels in widgets of ipywidgets' own, as `LiveChart` says why.

    Args:
        selection: Its value is what the selected version is called; a click sets it.
    """

    _esm = Path(__file__).with_name("version_table.js")
    _css = Path(__file__).with_name("version_table.css")
    table = Instance(widgets.Label).tag(**CARRIER)
    """Its value is columns and rows, as JSON."""
    selection = Instance(widgets.Combobox).tag(**CARRIER)
    chosen = Instance(widgets.Label).tag(**CARRIER)
    """Its value is the names of those that are ticked, as JSON."""

    def __init__(self, selection: widgets.Combobox):
        super().__init__(table=widgets.Label(""), selection=selection, chosen=widgets.Label("[]"))

    def show(self, versions: VersionList) -> None:
        """Other rows in place of those before; ticks of versions that are gone go with them."""
        self.chosen.value = json.dumps([name for name in self.ticked if name in versions.names])
        self.table.value = versions_json(versions)

    @property
    def ticked(self) -> list[str]:
        """Names of the versions that are to be compared, in the order in which they were ticked."""
        found: list[str] = json.loads(self.chosen.value)
        return found


def versions_json(versions: VersionList) -> str:
    """What the page is told; the first row is float's, which has no name."""
    columns = versions.table.columns
    rows = [
        {"name": name, "called": called, "cells": [cell_text(c, k.format) for c, k in zip(row, columns, strict=True)]}
        for name, called, row in zip(("", *versions.names), ("", *versions.called), versions.table.rows, strict=True)
    ]
    told = [{"title": column.heading, "help": column.help, "align": column.align} for column in columns]
    return json.dumps({"columns": told, "versions": rows})
