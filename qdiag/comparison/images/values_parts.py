"""The parts of a report on values: float against fixed point, and channels."""

from collections.abc import Sequence

from qdiag.report.chart import Chart, Series
from qdiag.report.table import Column, Table

Points = Sequence[tuple[float, float]]


def value_chart(name: str, worst: str, worst_points: Points, other_points: Points, lane: str) -> Chart:
    """Values in fixed point over the same values in float; the worst channels in their own colour."""
    named = [("other channels", other_points, "float"), (worst, worst_points, "8-bit")]
    series = tuple(
        Series(title, tuple(y for _, y in points), format=".4g", meaning=meaning, at=tuple(x for x, _ in points))
        for title, points, meaning in named
        if points
    )
    return Chart(
        "scatter",
        f"Values of output {name!r}" if name else "Values of the output",
        series,
        x_title="float",
        y_title=lane,
        caption="On the dashed line nothing is lost. Steps are the format's grid; where points stop to rise, it clips.",
        key=f"values{name}",
        diagonal=True,
    )


def channel_rows_table(rows: Sequence[tuple[str, Sequence[int], float]]) -> Table:
    """Groups of channels, the worst first in each output."""
    columns = (
        Column("output", "output"),
        Column("channels", "channels"),
        Column("sqnr_db", "SQNR", "dB", ".1f", "right", "beside their own spread over images and places"),
    )
    told = tuple((name, _listed(channels), sqnr_db) for name, channels, sqnr_db in rows)
    return Table(columns, told, "Channels that are judged together", key="channels")


def _listed(channels: Sequence[int]) -> str:
    if len(channels) <= 6:
        return ", ".join(map(str, channels))
    return f"{len(channels)} between {channels[0]} and {channels[-1]}"
