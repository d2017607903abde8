"""What every drawing of a chart computes alike: colours, ranges, and names that fit."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qdiag.report.chart import Chart, Series
from qdiag.report.numbers import format_number, with_unit

# Okabe and Ito's palette, told apart by the colour-blind and legible on light and on dark.
BLUE, VERMILLION, GREEN, _PURPLE, _ORANGE, _SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
_GREY = "#858585"
# A lane keeps its colour through a whole report, whichever lanes a chart shows.
LANE_COLOURS = {"float": _GREY, "16-bit": BLUE, "8-bit": VERMILLION}
_OTHER_COLOURS = (GREEN, _PURPLE, _ORANGE, _SKY)
_MOST_LABELLED_BARS = 45
_DASHES = ("solid", "dash", "dot", "dashdot")

INK = "#808080"  # text and axes: legible on white (4.0 to 1) and on JupyterLab's dark (4.8 to 1)
GRID = "rgba(128, 128, 128, 0.25)"


@dataclass(frozen=True)
class SeriesStyle:
    """colour, and the dash that tells lines apart without it."""

    colour: str
    dash: str


def series_styles(chart: Chart) -> tuple[SeriesStyle, ...]:
    """A style for each series of the chart."""
    # A histogram's steps are vertical half the time, where dashes cannot be seen; its first series is filled instead.
    dashes = ("solid", *_DASHES) if chart.kind == "histogram" else _DASHES
    others = 0
    styles = []
    for index, series in enumerate(chart.series):
        colour = LANE_COLOURS.get(series.name)
        if colour is None:
            colour = _OTHER_COLOURS[others % len(_OTHER_COLOURS)]
            others += 1
        styles.append(SeriesStyle(colour, dashes[index % len(dashes)]))
    return tuple(styles)


def value_range(chart: Chart) -> tuple[float, float]:
    """From where to where the value axis goes. Bars and counts start at 0; a log axis starts under the least value."""
    values = finite(value for series in chart.series for value in series.values)
    if chart.log_y:
        positive = [value for value in values if value > 0]
        return (min(positive) / 2, max(positive) * 2) if positive else (0.1, 1.0)
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if chart.kind != "line":
        low, high = min(0.0, low), max(0.0, high)
    margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    return low - margin if low else 0.0, high + margin


def finite(values: Iterable[float | None]) -> list[float]:
    """Those that can be drawn."""
    return [value for value in values if value is not None and math.isfinite(value)]


def lengths(series: Series, chart: Chart) -> list[float]:
    """Where bars and counts end; those with no place on the value axis have no length."""
    start = max(value_range(chart)[0], 0.0)
    return [start if point is None else point for point in points(series, chart)]


def points(series: Series, chart: Chart) -> list[float | None]:
    """The values that have a place on the value axis, None for the others."""
    return [
        value if value is not None and math.isfinite(value) and (value > 0 or not chart.log_y) else None
        for value in series.values
    ]


def value_texts(series: Series) -> list[str]:
    """Every value in words, with its unit."""
    return [with_unit(format_number(value, series.format), series.unit) for value in series.values]


def labels_fit(chart: Chart) -> bool:
    """Whether there is room for a number at the end of every bar."""
    return len(chart.names) * len(chart.series) <= _MOST_LABELLED_BARS


def worst_at(series: Series, indices: Iterable[int]) -> int | None:
    """Which of the values at `indices` is the worst; None where none is finite."""
    found = [index for index in indices if finite([series.values[index]])]
    if not found:
        return None
    pick = min if series.higher_is_better else max
    return pick(found, key=lambda index: series.values[index] or 0.0)


def shorten(name: str, limit: int) -> str:
    """The name's two ends where it is too long, more of its head: that is where layers differ.

    >>> shorten("backbone.features.12.conv.1.conv2d", 28)
    'backbone.features.….1.conv2d'
    """
    if len(name) <= limit:
        return name
    tail = (limit - 1) // 3
    return f"{name[: limit - 1 - tail]}…{name[-tail:]}"


def tick_positions(names: Sequence[str], most: int) -> list[int]:
    """Evenly spread positions at which to write a name, at most `most` of them."""
    return list(range(0, len(names), max(1, math.ceil(len(names) / most))))
