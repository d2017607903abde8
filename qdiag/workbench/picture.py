"""Charts of the report, live on the page: a click selects, and other charts take their place in one message."""

from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as widgets
import plotly.graph_objects as go

from qdiag.report.chart import Chart
from qdiag.report.plotly_column import column
from qdiag.workbench.live_chart import LiveChart

REACH = 60
"""A click counts for the mark that is nearest, up to so many pixels."""


@dataclass(frozen=True)
class Part:
    """A chart's place in a picture: its height in pixels, and whether layers' names are written on its axis."""

    height: int
    names: bool = True


class Picture(widgets.Box):
    """Charts one below the other in one widget; nothing, until they are shown.

    All charts of a column are one figure, so that one message brings all that is known of a layer.

    parts: by the charts' keys. selection: see `LiveChart`.
    """

    def __init__(self, css: str, parts: dict[str, Part], selection: widgets.Combobox | None = None):
        super().__init__(layout={"display": "none"})
        self.add_class(css)
        self.parts, self.selection = parts, selection
        self.live: LiveChart | None = None

    def show(self, charts: Sequence[Chart]) -> None:
        """Draw those charts that have a part, in place of the ones before."""
        known = {chart.key: chart for chart in charts if chart.key in self.parts}
        self.layout.display = "flex" if known else "none"
        if not known:
            return
        drawn = self._drawn(known)
        if self.live is None:
            self.live = LiveChart(drawn, self.selection)
            self.children = [self.live]
        else:
            self.live.show(drawn)

    def _drawn(self, charts: dict[str, Chart]) -> go.Figure:
        keys = [key for key in self.parts if key in charts]
        heights, named = [self.parts[key].height for key in keys], [self.parts[key].names for key in keys]
        drawn = column([charts[key] for key in keys], heights, named)
        return drawn.update_layout(hoverdistance=REACH)
