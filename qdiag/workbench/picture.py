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
    """Nothing, until a chart is shown.

    height: in pixels. on_click: takes the name that the chart has at the place of a click. names: written on the axis;
    without them they stand under the pointer only.
    """

    def __init__(self, css: str, height: int, on_click: Callable[[str], None] | None = None, names: bool = True):
        super().__init__(layout={"display": "none"})
        self.add_class(css)
        self.height, self.on_click, self.names = height, on_click, names
        self.figure: LiveFigure | None = None

    def show(self, chart: Chart | None) -> None:
        """Draw a chart in place of the one before; None: nothing."""
        self.layout.display = "none" if chart is None else "flex"
        if chart is None:
            return
        drawn = self._drawn(chart)
        if self.figure is not None and _traces(self.figure) == _traces(drawn):
            _redraw(self.figure, drawn)
            return
        old, self.figure = self.figure, LiveFigure(drawn)
        for trace in self.figure.data if self.on_click else ():
            trace.on_click(self._clicked)
        self.children = [self.figure]
        if old is not None:
            old.close()

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
