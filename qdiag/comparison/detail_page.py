"""One layer close up, shown."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qdiag.report.cells import Cell
from qdiag.report.chart import Chart, Mark, Series
from qdiag.report.elements import Block, Report
from qdiag.report.table import Column, Table

if TYPE_CHECKING:
    from qdiag.comparison.site_detail import SiteDetail


def page(detail: "SiteDetail") -> Report:
    """Histograms of the output and of the weights, and the channels."""
    blocks: list[Block] = list(detail_charts(detail))
    if detail.channel_high or detail.weight_magnitudes:
        blocks.append(channel_table(detail))
    data = {"site": str(detail.site), "images": detail.images, "ends": dict(detail.ends), "steps": dict(detail.steps)}
    return Report(f"{detail.site}, close up", tuple(blocks), "site-detail", data)


def detail_charts(detail: "SiteDetail") -> tuple[Chart, ...]:
    """The pictures: what the layer stores, what it multiplies with, and how far its channels are apart."""
    lane = list(detail.counts)[-1]
    marks = [Mark(end, f"end of {lane}") for end in detail.ends.get(lane, ()) if detail.edges[0] <= end]
    charts = [
        _histogram(f"Output of {detail.site}, {detail.images} images", detail.edges, detail.counts, marks),
        _histogram(f"Weights of {detail.site}, BatchNorm merged", detail.weight_edges, detail.weight_counts),
        _channels(detail),
    ]
    return tuple(chart for chart in charts if chart is not None)


def _histogram(
    title: str, edges: Sequence[float], counts: Mapping[str, Sequence[int]], marks: Sequence[Mark] = ()
) -> Chart | None:
    if not edges:
        return None
    series = tuple(Series(name, tuple(values), format="d") for name, values in counts.items())
    return Chart("histogram", title, series, edges=tuple(edges), marks=tuple(marks), y_title="values", log_y=True)


def _channels(detail: "SiteDetail") -> Chart | None:
    """Largest magnitudes, the loudest channel first; by the output's, or else by the weights'."""
    outputs, weights = detail.channel_magnitudes, detail.weight_magnitudes
    order = sorted(range(len(outputs or weights)), key=lambda channel: -(outputs or weights)[channel])
    kinds = {"output": outputs, "weights": weights}
    series = tuple(
        Series(name, tuple(values[channel] for channel in order), format=".4g")
        for name, values in kinds.items()
        if len(values) == len(order) > 0
    )
    if not series:
        return None
    names = tuple(f"channel {channel}" for channel in order)
    caption = "All of them share the scale of the first, unless weights have one for each channel."
    title = f"Largest magnitude by channel of {detail.site}"
    return Chart("line", title, series, names, y_title="magnitude", log_y=True, caption=caption)


def channel_table(detail: "SiteDetail") -> Table:
    """Extremes of each channel of the float tensor, and its largest weight."""
    columns = (
        Column("channel", "channel", align="right"),
        Column("low", "least", "", ".4g", "right"),
        Column("high", "greatest", "", ".4g", "right"),
        Column("weight", "largest weight", "", ".4g", "right"),
    )

    def at(values: Sequence[float], channel: int) -> Cell:
        return values[channel] if channel < len(values) else None

    count = max(len(detail.channel_high), len(detail.weight_magnitudes))
    parts = (detail.channel_low, detail.channel_high, detail.weight_magnitudes)
    rows = tuple((channel, *(at(part, channel) for part in parts)) for channel in range(count))
    return Table(columns, rows, "Channels", key="channels")
