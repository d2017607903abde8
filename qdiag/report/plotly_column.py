"""Charts one below the other in one interactive figure: a page then loads plotly once for all of them."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from qdiag.report.chart import Chart
from qdiag.report.to_plotly import figure

HEAD, FOOT = 62, 52
"""Pixels over a chart's marks, for its title and legend, and under them, for its axis."""
_ABOVE = ("barmode", "bargap", "font", "hoverlabel", "modebar", "paper_bgcolor", "plot_bgcolor", "template")


def column(charts: Sequence[Chart], heights: Sequence[int], named: Sequence[bool]) -> go.Figure:
    """The charts in their order, each with its own title, legend and axes.

    Args:
        charts: At least one.
        heights: Of each in pixels, with title and axes.
        named: Whether its layers' names are written on the axis.
    """
    total, top = sum(heights), sum(heights)
    made = go.Figure(layout={"height": total, "hovermode": "closest", "showlegend": True})
    made.update_layout(margin={"l": 8, "r": 16, "t": 0, "b": 0})
    for number, (chart, height, is_named) in enumerate(zip(charts, heights, named, strict=True), start=1):
        drawn = figure(chart)
        if not is_named:
            drawn.update_xaxes(showticklabels=False)
        _place(made, drawn, "" if number == 1 else str(number), (top - height, top, total))
        top -= height
    return made


def _place(made: go.Figure, drawn: go.Figure, suffix: str, band: tuple[int, int, int]) -> None:
    """Put one figure between two heights of another one, in pixels of its total; suffix: of its axes there."""
    low, high, total = band
    domain = [(low + FOOT) / total, (high - HEAD) / total]
    layout: dict[str, Any] = drawn.layout.to_plotly_json()
    axes = {
        f"xaxis{suffix}": layout["xaxis"] | {"anchor": f"y{suffix}", "automargin": False},
        f"yaxis{suffix}": layout["yaxis"] | {"anchor": f"x{suffix}", "domain": domain},
    }
    legend = layout["legend"] | {"y": domain[1]}
    made.update_layout({**{name: layout[name] for name in _ABOVE if name in layout}, **axes, f"legend{suffix}": legend})
    for trace in drawn.data:
        shown = {"legend": f"legend{suffix}", "showlegend": bool(layout["showlegend"])}
        made.add_trace(trace.update(xaxis=f"x{suffix}", yaxis=f"y{suffix}", **shown))
    for shape in layout.get("shapes", ()):
        made.add_shape(_moved(shape, suffix))
    for note in layout.get("annotations", ()):
        made.add_annotation(_moved(note, suffix))
    heading = {"text": layout["title"]["text"], "font": layout["title"]["font"], "showarrow": False}
    corner = {"x": 0, "xanchor": "left", "xref": "paper", "y": high / total, "yanchor": "top", "yref": "paper"}
    made.add_annotation(heading | corner)


def _moved(mark: dict[str, Any], suffix: str) -> dict[str, Any]:
    """A shape or a note, on the axes of that suffix in place of the first ones."""
    return mark | {axis: f"{mark[axis][0]}{suffix}{mark[axis][1:]}" for axis in ("xref", "yref")}
