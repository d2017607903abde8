"""A chart in a terminal: bars of blocks, and strips of one character a layer or bin."""

import math
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text as RichText

from qdiag.report.chart import Chart, ChartKind, Series
from qdiag.report.chart_scale import finite, lengths, series_styles, shorten, value_range, value_texts, worst_at
from qdiag.report.numbers import format_number

_EIGHTHS = " ▏▎▍▌▋▊▉"
_HEIGHTS = "▁▂▃▄▅▆▇█"
_GAP = "·"
_LONGEST_BAR = 60
_SHORTEST_STRIP = 40  # a few layers or bins get several characters each


def render_chart(chart: Chart, width: int) -> RenderableType:
    """The chart within `width` columns, its title and caption left to the caller."""
    return RichText("  (none)", style="dim") if chart.is_empty else _RENDER[chart.kind](chart, width)


def _render_bars(chart: Chart, width: int) -> RenderableType:
    names = [shorten(name, max(12, width * 2 // 5)) for name in chart.names]
    texts = [value_texts(series) for series in chart.series]
    taken = max(map(len, names), default=0) + max(len(series.name) for series in chart.series)
    room = width - taken - max((len(text) for column in texts for text in column), default=0) - 6
    full = max(4, min(_LONGEST_BAR, room))
    grid = RichTable.grid(padding=(0, 2))
    for index, name in enumerate(names):
        for series, style, column in zip(chart.series, series_styles(chart), texts, strict=True):
            bar = _bar(_share(lengths(series, chart)[index], chart), full)
            line = RichText.assemble((bar, style.colour), " " * bool(bar), column[index])
            grid.add_row(name, series.name if len(chart.series) > 1 else "", line)
            name = ""
    return grid


def _bar(share: float, full: int) -> str:
    eighths = round(share * full * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _render_lines(chart: Chart, width: int) -> RenderableType:
    rows = []
    for series in chart.series:
        buckets = _buckets(len(chart.names), _strip_width(chart, width))
        worst = [worst_at(series, bucket) for bucket in buckets]
        values = [None if index is None else series.values[index] for index in worst]
        rows.append("".join(_GAP if value is None else _pick(_HEIGHTS, _share(value, chart)) for value in values))
    return Group(_strips(chart, rows), *_worst_notes(chart, width))


def _render_histogram(chart: Chart, width: int) -> RenderableType:
    rows = []
    for series in chart.series:
        buckets = _buckets(len(chart.edges) - 1, _strip_width(chart, width))
        sums = [sum(finite(series.values[index] for index in bucket)) for bucket in buckets]
        most = max(sums, default=0)
        rows.append("".join(_pick(_HEIGHTS, _height(count, most, chart.log_y)) if count else " " for count in sums))
    ends = f"{chart.x_title or 'from'} {format_number(chart.edges[0])} to {format_number(chart.edges[-1])}"
    marks = [f"{mark.label} at {format_number(mark.value)}" for mark in chart.marks]
    return Group(_strips(chart, rows), RichText("; ".join([ends, *marks]), style="dim"))


def _render_scatter(chart: Chart, width: int) -> RenderableType:
    """Points by their names; without any, a strip of the values in the order of their places."""
    if all(series.labels for series in chart.series):
        grid = RichTable.grid(padding=(0, 2))
        for series in chart.series:
            for label, place, text in zip(series.labels, series.at, value_texts(series), strict=True):
                grid.add_row(label, f"{chart.x_title} {format_number(place)}", text)
        return grid
    rows = []
    for series in chart.series:
        values = [value for _, value in sorted(zip(series.at, series.values, strict=True))]
        buckets = _buckets(len(values), _strip_width(chart, width))
        means = [
            sum(found) / len(found) if (found := finite(values[i] for i in bucket)) else None for bucket in buckets
        ]
        rows.append("".join(_GAP if mean is None else _pick(_HEIGHTS, _share(mean, chart)) for mean in means))
    note = f"from left to right by {chart.x_title or 'place'}; {chart.y_title or 'value'} as height"
    return Group(_strips(chart, rows), RichText(note, style="dim"))


def _height(count: float, most: float, log: bool) -> float:
    return math.log1p(count) / math.log1p(most) if log else count / most


_RENDER: dict[ChartKind, Callable[[Chart, int], RenderableType]] = {
    "bar": _render_bars,
    "line": _render_lines,
    "histogram": _render_histogram,
    "scatter": _render_scatter,
}


def _share(value: float, chart: Chart) -> float:
    """Where the value lies between the ends of the value axis, 0 to 1; a bar's length counts from 0."""
    low, high = value_range(chart)
    if chart.log_y:
        return math.log(max(value, low) / low) / math.log(high / low)
    if chart.kind == "bar":
        return abs(value) / max(abs(low), abs(high))
    return (value - low) / (high - low)


def _strip_width(chart: Chart, width: int) -> int:
    return max(_SHORTEST_STRIP, width - max((len(series.name) for series in chart.series), default=0) - 2)


def _buckets(count: int, most: int) -> list[range]:
    """`count` positions in at most `most` runs of one length."""
    size = max(1, math.ceil(count / most))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _pick(ramp: str, share: float) -> str:
    return ramp[min(len(ramp) - 1, int(share * len(ramp)))]


def _strips(chart: Chart, rows: Sequence[str]) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    for series, style, row in zip(chart.series, series_styles(chart), rows, strict=True):
        wide = "".join(character * max(1, _SHORTEST_STRIP // len(row)) for character in row)
        grid.add_row(series.name, RichText(wide, style=style.colour, no_wrap=True))
    return grid


def _worst_notes(chart: Chart, width: int) -> list[RenderableType]:
    """What a strip cannot say: how many layers a character stands for, and which layer is the worst."""
    size = len(_buckets(len(chart.names), _strip_width(chart, width))[0])
    notes = [f"one character for {size} layers, the worst of them"] if size > 1 else []
    notes += [note for series in chart.series if (note := _worst_note(series, chart.names))]
    return [RichText("\n".join(notes), style="dim")] if notes else []


def _worst_note(series: Series, names: Sequence[str]) -> str:
    index = worst_at(series, range(len(names)))
    return f"{series.name}: worst {value_texts(series)[index]} at {names[index]}" if index is not None else ""
