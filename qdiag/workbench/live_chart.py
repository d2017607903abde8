"""A figure that plotly draws on the page: other figures take its place in one message, a click selects a layer."""

import gzip
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from traitlets import Instance

CARRIER: dict[str, Any] = {"sync": True, **widgets.widget_serialization}


class LiveChart(anywidget.AnyWidget):
    """One figure on the page.

    plotly's own FigureWidget brings 5 MB of script each time, where here all figures share one, packed to 1.5. And
    anywidget drops whatever is sent to a widget whose script took over two seconds to load, for good: on a busy machine
    a figure would stay as it was first drawn. So what changes travels in widgets of ipywidgets' own.

    Args:
        drawn: The figure, which is drawn as wide as there is room.
        selection: Its value is the layer that the page is about. A click sets it to the mark's `customdata`; a line
            marks it, without a word to the kernel, in axes whose marks are layers.
    """

    _esm = Path(__file__).with_name("live_chart.js")
    figure = Instance(widgets.Label).tag(**CARRIER)
    """Its value is data and layout, as JSON."""
    library = Instance(widgets.Image).tag(**CARRIER)
    """Its value is plotly's script, packed by gzip."""
    selection = Instance(widgets.Combobox, allow_none=True).tag(**CARRIER)

    def __init__(self, drawn: go.Figure, selection: widgets.Combobox | None = None):
        wide = {"width": "100%", "min_width": "0"}  # an empty child of a flex box has no width, and is never drawn
        carriers = {"figure": widgets.Label(drawn.to_json()), "library": _library(), "selection": selection}
        super().__init__(layout=wide, **carriers)

    def show(self, drawn: go.Figure) -> None:
        """Draw another figure in its place."""
        self.figure.value = drawn.to_json()


@cache
def _library() -> widgets.Image:
    """One for all figures of a process."""
    return widgets.Image(value=gzip.compress(get_plotlyjs().encode()))
