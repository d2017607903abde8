"""A chart of the report, live on the page: clicks are heard, and another chart takes its place in one message."""

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from qdiag.report.chart import Chart
from qdiag.report.to_plotly import figure

WIDTH = 590
REDRAWN = ("x", "y", "hovertext", "customdata")
REARRANGED = ("title", "shapes", "annotations", "xaxis", "yaxis")


class Picture(widgets.Box):
    """Nothing, until a chart is drawn and then shown.

    The page loads plotly with the first figure: one that were shown at once would stay empty there. So a panel draws
    all of its pictures, and shows them last.

    height: in pixels. on_click: takes the name that the chart has at the place of a click. names: written on the axis;
    without them they stand under the pointer only.
    """

    def __init__(self, css: str, height: int, on_click: Callable[[str], None] | None = None, names: bool = True):
        super().__init__(layout={"display": "none"})
        self.add_class(css)
        self.height, self.on_click, self.names = height, on_click, names
        self.figure: go.FigureWidget | None = None

    def draw(self, chart: Chart | None) -> None:
        """Draw a chart in place of the one before; None: nothing."""
        self.layout.display = "none" if chart is None else "flex"
        if chart is None:
            return
        drawn = self._drawn(chart)
        if self.figure is not None and _traces(self.figure) == _traces(drawn):
            _redraw(self.figure, drawn)
            return
        self.figure = _live(drawn)
        for trace in self.figure.data if self.on_click else ():
            trace.on_click(self._clicked)

    def show(self) -> None:
        """Put on the page what was drawn."""
        old = self.children
        if self.figure is not None and old != (self.figure,):
            self.children = [self.figure]
            for figure in old:
                figure.close()

    def _drawn(self, chart: Chart) -> go.Figure:
        drawn = figure(chart)
        # A FigureWidget takes 700 pixels whatever its cell has, unless it is told.
        drawn.update_layout(width=WIDTH, height=self.height, hoverdistance=-1)  # a click counts for the nearest name
        if not self.names:
            drawn.update_xaxes(showticklabels=False)
        return drawn

    def _clicked(self, trace: Any, points: Any, _: Any) -> None:
        if points.point_inds and self.on_click is not None:
            self.on_click(trace.customdata[points.point_inds[0]])


def _live(drawn: go.Figure) -> go.FigureWidget:
    """A widget that has its whole content before it is shown: what comes while the page draws it may be lost."""
    widget = go.FigureWidget(drawn)
    widget._config = widget._config | {"displaylogo": False, "displayModeBar": False}
    return widget


def _traces(drawn: go.Figure) -> list[tuple[str, str]]:
    return [(trace.type, trace.name) for trace in drawn.data]


def _redraw(widget: go.FigureWidget, drawn: go.Figure) -> None:
    """Put another figure's content on a widget of the same traces: one message, and one drawing."""
    with widget.batch_update():
        for old, new in zip(widget.data, drawn.data, strict=True):
            for part in REDRAWN:
                old[part] = new[part]
        for part in REARRANGED:
            widget.layout[part] = drawn.layout[part]
