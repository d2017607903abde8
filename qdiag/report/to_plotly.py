"""A chart as an interactive plotly figure."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import plotly.graph_objects as go

from qdiag.report.chart import Chart, ChartKind, Series
from qdiag.report.chart_scale import (
    diagonal,
    draws_grid,
    labels_fit,
    lengths,
    mark_colour,
    opens_left,
    place_range,
    points,
    series_styles,
    shorten,
    tick_positions,
    value_range,
    value_texts,
)
from qdiag.report.colours import CLEAR, GRID, INK
from qdiag.report.numbers import format_number

_LONG = 0.75  # of the value axis
_LONGEST_BAR_NAME, _LONGEST_TICK_NAME = 36, 28
_AXIS = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
# Plotly would take the ground's colour, and that is transparent.
_HOVER_COLOURS = {"bgcolor": "#2b2f36", "bordercolor": "#6b7280", "font": {"color": "#f3f4f6"}}


CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],  # by default one uploads the chart
    "plotlyServerURL": "",
}
"""How a figure behaves on a page; nothing of it leads to a network."""


def figure(chart: Chart, with_title: bool = True) -> go.Figure:
    """The chart with hover text in words and units, on a transparent ground.

    A point's `customdata` is its layer's name, as the chart has it.
    """
    made = go.Figure(layout=_layout(chart))
    if with_title:
        title = {"text": _escape(chart.title), "font": {"size": 15}, "x": 0, "xref": "container", "pad": {"l": 8}}
        made.update_layout(title=title, margin={"t": 72})
    _DRAW[chart.kind](made, chart)
    return made


def _layout(chart: Chart) -> dict[str, Any]:
    return {
        "template": go.layout.Template(),  # plotly's own would add 7 KB to every figure
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 8, "r": 16, "t": 36, "b": 8},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "showlegend": len(chart.series) > 1,
        "hoverlabel": {"align": "left", "namelength": -1, **_HOVER_COLOURS},
        "modebar": {"bgcolor": CLEAR, "color": INK, "activecolor": INK},
        "height": _height(chart),
    }


def _height(chart: Chart) -> int:
    if chart.kind == "bar":
        return 130 + len(chart.names) * (10 + 17 * (1 if chart.stacked else len(chart.series)))
    return 420


def _draw_bars(made: go.Figure, chart: Chart) -> None:
    longest = max(map(abs, value_range(chart)))
    for series, style in zip(chart.series, series_styles(chart), strict=True):
        texts, ends = value_texts(series), lengths(series, chart)
        made.add_bar(
            orientation="h",
            name=_escape(series.name),
            y=_escape_all(chart.names),
            x=ends,
            marker={"color": style.colour},
            text=texts if labels_fit(chart) else None,
            # Beyond a long bar's end a narrow screen has no room.
            textposition=["inside" if abs(length) > _LONG * longest else "outside" for length in ends],
            insidetextanchor="end",
            textfont={"size": 11},
            cliponaxis=False,
            hovertext=texts,
            hovertemplate=_hover_template(chart, series, _LONGEST_BAR_NAME),
            customdata=chart.names,
        )
    made.update_layout(hovermode="y unified", barmode="stack" if chart.stacked else "group", bargap=0.3)
    made.update_xaxes(**_AXIS, **_value_axis(chart))
    made.update_yaxes(
        **_AXIS,
        type="category",
        autorange="reversed",
        tickvals=_escape_all(chart.names),
        ticktext=_escape_all(shorten(name, _LONGEST_BAR_NAME) for name in chart.names),
    )


def _draw_lines(made: go.Figure, chart: Chart) -> None:
    for series, style in zip(chart.series, series_styles(chart), strict=True):
        made.add_scatter(
            mode="lines+markers",
            name=_escape(series.name),
            x=_escape_all(chart.names),
            y=points(series, chart),
            line={"color": style.colour, "dash": style.dash, "width": 2},
            marker={"size": 5 if len(chart.names) <= 100 else 3},
            hovertext=value_texts(series),
            hovertemplate=_hover_template(chart, series, _LONGEST_TICK_NAME),
            customdata=chart.names,
        )
    made.update_layout(hovermode="x unified")
    made.update_xaxes(**_AXIS, **_name_axis(chart))
    made.update_yaxes(**_AXIS, **_value_axis(chart))


def _draw_histogram(made: go.Figure, chart: Chart) -> None:
    for index, (series, style) in enumerate(zip(chart.series, series_styles(chart), strict=True)):
        counts = lengths(series, chart)
        bins = [
            f"{format_number(left)} to {format_number(right)}: {text}"
            for left, right, text in zip(chart.edges[:-1], chart.edges[1:], value_texts(series), strict=True)
        ]
        made.add_scatter(
            mode="lines",
            name=_escape(series.name),
            x=chart.edges,
            y=[*counts, *counts[-1:]],  # a step ends where the last bin does
            line={"color": style.colour, "dash": style.dash, "shape": "hv", "width": 1.5},
            fill="tozeroy" if index == 0 else "none",
            hovertext=[*bins, *bins[-1:]],
            hovertemplate="%{hovertext}",
        )
    for mark in chart.marks:
        line = {"color": mark_colour(mark, chart), "dash": "dash", "width": 1.5}
        made.add_vline(mark.value, line=line, annotation_text=_escape(mark.label))
    made.update_layout(hovermode="x unified")
    made.update_xaxes(**_AXIS, title=_axis_title(chart.x_title))
    if draws_grid(chart):
        made.update_xaxes(
            minor={"dtick": chart.x_grid, "tick0": 0, "showgrid": True, "gridcolor": GRID, "griddash": "dot"}
        )
    made.update_yaxes(**_AXIS, **_value_axis(chart))


def _draw_scatter(made: go.Figure, chart: Chart) -> None:
    for series, style in zip(chart.series, series_styles(chart), strict=True):
        made.add_scatter(
            mode="markers+text" if series.labels else "markers",
            name=_escape(series.name),
            x=series.at,
            y=points(series, chart),
            text=_escape_all(shorten(label, _LONGEST_TICK_NAME) for label in series.labels) or None,
            textposition=["middle left" if opens_left(place, chart) else "middle right" for place in series.at],
            cliponaxis=False,
            marker={"color": style.colour, "size": 10 if series.labels else 5, "opacity": 1 if series.labels else 0.6},
            hovertext=[
                f"{label}{format_number(place)} → {text}"
                for label, place, text in zip(_heads(series), series.at, value_texts(series), strict=True)
            ],
            hoverinfo="text",
        )
    if chart.diagonal:
        low, high = diagonal(chart)
        made.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line={"color": INK, "dash": "dash", "width": 1})
    made.update_layout(hovermode="closest")
    made.update_xaxes(**_AXIS, title=_axis_title(chart.x_title), range=place_range(chart))
    made.update_yaxes(**_AXIS, **_value_axis(chart))


def _heads(series: Series) -> list[str]:
    """What a point's hover text begins with."""
    return [f"{_escape(label)}: " for label in series.labels] or [""] * len(series.at)


_DRAW: dict[ChartKind, Callable[[go.Figure, Chart], None]] = {
    "bar": _draw_bars,
    "line": _draw_lines,
    "histogram": _draw_histogram,
    "scatter": _draw_scatter,
}


def _value_axis(chart: Chart) -> dict[str, Any]:
    low, high = value_range(chart)
    title = _axis_title(chart.y_title)
    if not chart.log_y:
        return {"title": title, "range": [low, high]}
    decades = {"dtick": 1} if high >= 100 * low else {}  # else plotly marks 2 and 5 within a decade
    return {"title": title, "type": "log", "range": [math.log10(low), math.log10(high)], **decades}


def _axis_title(text: str) -> dict[str, Any]:
    return {"text": _escape(text), "standoff": 10}


def _name_axis(chart: Chart) -> dict[str, Any]:
    ticks = [chart.names[index] for index in tick_positions(chart.names, 20)]
    return {
        "type": "category",
        "title": _axis_title(chart.x_title),
        "tickvals": _escape_all(ticks),
        "ticktext": _escape_all(shorten(name, _LONGEST_TICK_NAME) for name in ticks),
        "tickangle": -40,
        "showgrid": False,
    }


def _hover_template(chart: Chart, series: Series, longest: int) -> str:
    """The value; under the last one the layer's name too, where the box's heading has it shortened."""
    name_below = series is chart.series[-1] and any(len(name) > longest for name in chart.names)
    return "%{hovertext}<br>%{customdata}" if name_below else "%{hovertext}"


def _escape_all(texts: Iterable[str]) -> list[str]:
    return [_escape(text) for text in texts]


def _escape(text: str) -> str:
    """Plotly reads a few HTML tags in its texts; a user's words are no tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
