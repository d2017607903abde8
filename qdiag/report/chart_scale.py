"""What every drawing of a chart computes alike: colours, ranges, and names that fit."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qdiag.report.chart import Chart, Mark, Series
from qdiag.report.colours import INK, colours
from qdiag.report.numbers import format_number, with_unit

_MOST_LABELLED_BARS = 45
_MOST_GRID_LINES = 64
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class SeriesStyle:
    """colour, and the dash that tells lines apart without it."""

    colour: str
    dash: str


def series_styles(chart: Chart) -> tuple[SeriesStyle, ...]:
    """A style for each series of the chart."""
    # A histogram's steps are vertical half the time, where dashes cannot be seen; its first series is filled instead.
    dashes = ("solid", *_DASHES) if chart.kind == "histogram" else _DASHES
    found = colours(series.shows for series in chart.series)
    return tuple(
        SeriesStyle(found[series.shows], dashes[index % len(dashes)]) for index, series in enumerate(chart.series)
    )


def mark_colour(mark: Mark, chart: Chart) -> str:
    """That of the series with the same meaning; ink where there is none."""
    return colours(series.shows for series in chart.series).get(mark.meaning, INK)


def value_range(chart: Chart) -> tuple[float, float]:
    """From where to where the value axis goes. Bars and counts start at 0; a log axis starts under the least value."""
    values = finite(value for column in _columns(chart) for value in column)
    if chart.log_y:
        positive = [value for value in values if value > 0]
        return (min(positive) / 2, max(positive) * 2) if positive else (0.1, 1.0)
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if chart.kind in ("bar", "histogram"):
        low, high = min(0.0, low), max(0.0, high)
    margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    return low - margin if low or chart.kind == "scatter" else 0.0, high + margin


def place_range(chart: Chart) -> tuple[float, float]:
    """From where to where the other axis of a scatter goes."""
    places = finite(place for series in chart.series for place in series.at)
    if not places:
        return 0.0, 1.0
    low, high = min(places), max(places)
    margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    return low - margin, high + margin


def opens_left(place: float, chart: Chart) -> bool:
    """Whether a point's name stands on its left, since it would run over the right end of the axis."""
    low, high = place_range(chart)
    return place > low + 0.7 * (high - low)


def diagonal(chart: Chart) -> tuple[float, float]:
    """From where to where the line goes on which both values are equal."""
    ranges = place_range(chart), value_range(chart)
    return max(low for low, _ in ranges), min(high for _, high in ranges)


def _columns(chart: Chart) -> Iterable[Sequence[float | None]]:
    """The values that need room: of each series, or where bars are stacked the sums of all series."""
    if not chart.stacked:
        return (series.values for series in chart.series)
    return ([sum(finite(column)) for column in zip(*(series.values for series in chart.series), strict=True)],)


def stack_starts(chart: Chart) -> list[list[float]]:
    """Where each series' bars begin: at 0, or where bars are stacked at the end of the series before."""
    starts = [[0.0] * len(chart.names)]
    for series in chart.series[:-1]:
        ends = zip(starts[-1], lengths(series, chart), strict=True)
        starts.append([start + length for start, length in ends] if chart.stacked else starts[-1])
    return starts


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
    return not chart.stacked and len(chart.names) * len(chart.series) <= _MOST_LABELLED_BARS


def worst_at(series: Series, indices: Iterable[int]) -> int | None:
    """Which of the values at `indices` is the worst; None where none is finite."""
    found = [index for index in indices if finite([series.values[index]])]
    if not found:
        return None
    pick = min if series.higher_is_better else max
    return pick(found, key=lambda index: series.values[index] or 0.0)


def draws_grid(chart: Chart) -> bool:
    """Whether the values of the histogram's format can be told apart."""
    return bool(chart.edges) and 0 < chart.edges[-1] - chart.edges[0] <= _MOST_GRID_LINES * chart.x_grid


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
