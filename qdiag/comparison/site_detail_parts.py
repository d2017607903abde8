"""The parts of a close look: what a layer stores, what it multiplies with, and how far its channels are apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qdiag.report.cells import Cell
from qdiag.report.chart import Chart, Mark, Series
from qdiag.report.table import Column, Table


def output_chart(
    title: str,
    edges: Sequence[float],
    counts: Mapping[str, Sequence[int]],
    limits: Mapping[str, tuple[float, float]],
    scales: Mapping[str, float],
) -> Chart | None:
    """Stored values in float and in each lane, with the limits of the last lane's format and the values that it has."""
    lane = list(counts)[-1]
    marks = tuple(Mark(limit, f"end of {lane}", lane) for limit in limits.get(lane, ()) if edges[0] <= limit)
    chart = _histogram(title, edges, counts)
    return chart and replace(chart, key="output", marks=marks, x_grid=scales.get(lane, 0.0))


def weight_chart(title: str, edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> Chart | None:
    """Weights in float and in the last lane; None where there are none."""
    chart = _histogram(title, edges, counts)
    return chart and replace(chart, key="weights")


def _histogram(title: str, edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> Chart | None:
    if not edges:
        return None
    series = tuple(Series(name, tuple(values), format="d") for name, values in counts.items())
    return Chart("histogram", title, series, edges=tuple(edges), y_title="values", log_y=True)


def channel_chart(name: str, outputs: Sequence[float], weights: Sequence[float]) -> Chart | None:
    """Largest magnitudes, the loudest channel first; by the output's, or else by the weights'. None without either."""
    order = sorted(range(len(outputs or weights)), key=lambda channel: -(outputs or weights)[channel])
    kinds = {"output": outputs, "weights": weights}
    series = tuple(
        Series(kind, tuple(values[channel] for channel in order), format=".4g")
        for kind, values in kinds.items()
        if len(values) == len(order) > 0
    )
    if not series:
        return None
    return Chart(
        kind="line",
        title=f"Largest magnitude by channel of {name}",
        series=series,
        names=tuple(f"channel {channel}" for channel in order),
        y_title="magnitude",
        log_y=True,
        caption="All of them share the scale of the first, unless weights have one for each channel.",
        key="channels",
    )


def channel_table(low: Sequence[float], high: Sequence[float], weights: Sequence[float]) -> Table:
    """Extremes of each channel of the float tensor, and its largest weight."""
    columns = (
        Column("channel", "channel", align="right"),
        Column("low", "least", "", ".4g", "right"),
        Column("high", "greatest", "", ".4g", "right"),
        Column("weight", "largest weight", "", ".4g", "right"),
    )

    def at(values: Sequence[float], channel: int) -> Cell:
        return values[channel] if channel < len(values) else None

    parts = (low, high, weights)
    rows = tuple((channel, *(at(part, channel) for part in parts)) for channel in range(max(map(len, parts))))
    return Table(columns, rows, "Channels", key="channels")
