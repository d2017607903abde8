"""A chart as a static picture."""

import io
import threading
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from qdiag.report.chart import Chart, ChartKind
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
    stack_starts,
    tick_positions,
    value_range,
    value_texts,
)
from qdiag.report.colours import INK

_ONE_AT_A_TIME = threading.Lock()  # fonts and text layouts are shared by all figures
_WIDTH_INCHES = 8.0
_DPI = 110
_LINE_STYLES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}


def draw(chart: Chart, with_title: bool = True) -> Figure:
    """The chart on a transparent ground, in ink that is legible on light and on dark.

    A bare Figure, never pyplot: pyplot's state is one for the whole process, and reports are drawn in threads.
    """
    made = Figure(figsize=(_WIDTH_INCHES, _height(chart)), layout="constrained", facecolor="none")
    axes = made.add_subplot(facecolor="none")
    if with_title:
        made.suptitle(chart.title, x=0.01, ha="left", color=INK, fontsize=11)
    if not chart.is_empty:
        _DRAW[chart.kind](axes, chart)
    _colour_in_ink(axes)
    if axes.get_legend_handles_labels()[0] and len(chart.series) > 1:
        axes.legend(frameon=False, labelcolor=INK, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    return made


def png(chart: Chart, with_title: bool = True) -> bytes:
    """The picture as a PNG file."""
    return encoded(draw(chart, with_title))


def encoded(figure: Figure, dpi: int = _DPI) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    with _ONE_AT_A_TIME:
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _height(chart: Chart) -> float:
    if chart.kind == "bar":
        return 1.2 + len(chart.names) * (0.1 + 0.16 * (1 if chart.stacked else len(chart.series)))
    return 3.4


def _draw_bars(axes: Axes, chart: Chart) -> None:
    side_by_side = 1 if chart.stacked else len(chart.series)
    thickness = 0.75 / side_by_side
    low, high = value_range(chart)
    drawn = zip(chart.series, series_styles(chart), stack_starts(chart), strict=True)
    for index, (series, style, starts) in enumerate(drawn):
        places = [row + (index % side_by_side + 0.5) * thickness - 0.375 for row in range(len(chart.names))]
        ends = lengths(series, chart)
        bars = axes.barh(places, ends, thickness, left=starts, color=style.colour, label=series.name)
        if labels_fit(chart):
            axes.bar_label(bars, value_texts(series), padding=3, color=INK, fontsize=8)
    axes.set_xscale("log" if chart.log_y else "linear")
    axes.set_xlim(low, high)
    axes.margins(y=0.02)
    axes.set_yticks(range(len(chart.names)), [shorten(name, 40) for name in chart.names])
    axes.invert_yaxis()
    axes.set_xlabel(chart.y_title)


def _draw_lines(axes: Axes, chart: Chart) -> None:
    for series, style in zip(chart.series, series_styles(chart), strict=True):
        values = [float("nan") if point is None else point for point in points(series, chart)]
        axes.plot(values, color=style.colour, linestyle=_LINE_STYLES[style.dash], marker=".", label=series.name)
    axes.set_ylim(*value_range(chart))
    _value_axis(axes, chart)
    _name_axis(axes, chart)


def _draw_histogram(axes: Axes, chart: Chart) -> None:
    low, high = value_range(chart)
    for index, (series, style) in enumerate(zip(chart.series, series_styles(chart), strict=True)):
        counts = lengths(series, chart)
        if index == 0:
            axes.stairs(counts, chart.edges, baseline=low, fill=True, color=style.colour, alpha=0.35)
        dash = _LINE_STYLES[style.dash]
        axes.stairs(counts, chart.edges, baseline=low, color=style.colour, linestyle=dash, label=series.name)
    axes.set_ylim(low, high)
    for mark in chart.marks:
        axes.axvline(mark.value, color=mark_colour(mark, chart), linestyle="--", linewidth=1)
        axes.text(mark.value, high, f" {mark.label}", color=INK, fontsize=8, verticalalignment="top")
    if draws_grid(chart):
        axes.xaxis.set_minor_locator(MultipleLocator(chart.x_grid))
        axes.xaxis.remove_overlapping_locs = False
        axes.grid(which="minor", axis="x", color=INK, alpha=0.25, linestyle=":")
    _value_axis(axes, chart)
    axes.set_xlabel(chart.x_title)


def _draw_scatter(axes: Axes, chart: Chart) -> None:
    for series, style in zip(chart.series, series_styles(chart), strict=True):
        values = [float("nan") if point is None else point for point in points(series, chart)]
        size, alpha = (40, 1.0) if series.labels else (8, 0.6)
        axes.scatter(series.at, values, size, style.colour, alpha=alpha, linewidths=0, label=series.name)
        for place, value, label in zip(series.at, values, series.labels, strict=False):
            shift, side = (-6, "right") if opens_left(place, chart) else (6, "left")
            words = axes.annotate(shorten(label, 24), (place, value), (shift, 0), textcoords="offset points", ha=side)
            words.set(color=INK, fontsize=8, verticalalignment="center")
    if chart.diagonal:
        axes.plot(diagonal(chart), diagonal(chart), color=INK, linestyle="--", linewidth=1)
    axes.set_xlim(*place_range(chart))
    axes.set_ylim(*value_range(chart))
    _value_axis(axes, chart)
    axes.set_xlabel(chart.x_title)


_DRAW: dict[ChartKind, Callable[[Axes, Chart], None]] = {
    "bar": _draw_bars,
    "line": _draw_lines,
    "histogram": _draw_histogram,
    "scatter": _draw_scatter,
}


def _value_axis(axes: Axes, chart: Chart) -> None:
    axes.set_yscale("log" if chart.log_y else "linear")
    axes.set_ylabel(chart.y_title)


def _name_axis(axes: Axes, chart: Chart) -> None:
    places = tick_positions(chart.names, 20)
    names = [shorten(chart.names[place], 24) for place in places]
    axes.set_xticks(places, names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_xlabel(chart.x_title)


def _colour_in_ink(axes: Axes) -> None:
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    for side, spine in axes.spines.items():
        spine.set(color=INK, visible=side in ("left", "bottom"))
