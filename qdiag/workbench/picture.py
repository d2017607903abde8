"""Charts of the report, live on the page: clicks are heard, and other charts take their place in one message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from qdiag.report.chart import Chart
from qdiag.report.plotly_column import column

WIDTH = 590
REACH = 60
"""A click counts for the mark that is nearest, up to so many pixels."""
REDRAWN = ("x", "y", "hovertext", "customdata")
REARRANGED = ("shapes", "annotations")


@dataclass(frozen=True)
class Part:
    """A chart's place in a picture: its height in pixels, and whether layers' names are written on its axis."""

    height: int
    names: bool = True


class Picture(widgets.Box):
    """Charts one below the other in one widget; nothing, until they are shown.

    Each widget brings a copy of plotly, and a page with three of them does not come back when it is reloaded: hence all
    charts of a column are one picture.

    parts: by the charts' keys. on_click: takes the name that a chart has at the place of a click.
    """

    def __init__(self, css: str, parts: dict[str, Part], on_click: Callable[[str], None] | None = None):
        super().__init__(layout={"display": "none"})
        self.add_class(css)
        self.parts, self.on_click = parts, on_click
        self.figure: LiveFigure | None = None

    def show(self, charts: Sequence[Chart]) -> None:
        """Draw those charts that have a part, in place of the ones before."""
        known = {chart.key: chart for chart in charts if chart.key in self.parts}
        self.layout.display = "flex" if known else "none"
        if not known:
            return
        drawn = self._drawn(known)
        if self.figure is not None and _traces(self.figure) == _traces(drawn):
            _redraw(self.figure, drawn)
            return
        old, self.figure = self.figure, LiveFigure(drawn)
        for trace in self.figure.data if self.on_click else ():
            trace.on_click(self._clicked)
        self.children = [self.figure]
        if old is not None:
            old.close()

    def _drawn(self, charts: dict[str, Chart]) -> go.Figure:
        keys = [key for key in self.parts if key in charts]
        heights, named = [self.parts[key].height for key in keys], [self.parts[key].names for key in keys]
        drawn = column([charts[key] for key in keys], heights, named)
        # A FigureWidget takes 700 pixels whatever its cell has, unless it is told.
        return drawn.update_layout(width=WIDTH, hoverdistance=REACH)

    def _clicked(self, trace: Any, points: Any, _: Any) -> None:
        if points.point_inds and self.on_click is not None:
            self.on_click(trace.customdata[points.point_inds[0]])


class LiveFigure(go.FigureWidget):
    """A figure that the page is told of with its whole content.

    Plotly tells the page of an empty one, and sends the content after it: where that comes late, the page has drawn
    the empty one, and leaves it so.
    """

    _is_filled = False

    def __init__(self, drawn: go.Figure):
        super().__init__(drawn)
        self._config = {"displaylogo": False, "displayModeBar": False}
        self._is_filled = True
        self.open()

    def open(self) -> None:
        """Tell the page; called by every widget's __init__, where this one is still empty."""
        if self._is_filled:
            super().open()


def _traces(drawn: go.Figure) -> list[tuple[str, str, str]]:
    return [(trace.type, trace.name, trace.xaxis) for trace in drawn.data]


def _redraw(widget: go.FigureWidget, drawn: go.Figure) -> None:
    """Put another figure's content on a widget of the same traces: one message, and one drawing."""
    with widget.batch_update():
        for old, new in zip(widget.data, drawn.data, strict=True):
            for part in REDRAWN:
                old[part] = new[part]
        for part in (*REARRANGED, *(name for name in drawn.layout if "axis" in name)):
            widget.layout[part] = drawn.layout[part]
