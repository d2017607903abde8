"""What `inspect()` found: one layer close up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from qdiag.comparison.site_detail_parts import channel_chart, channel_table, output_chart, weight_chart
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report
from qdiag.tracing.site import Site

BINS = 128
MAP_SIZE = 64


@dataclass(frozen=True)
class FeatureMap:
    """One channel of the first image, [height, width], at most MAP_SIZE each way: in float, and in the last lane."""

    channel: int
    reference: np.ndarray
    version: np.ndarray


@dataclass(frozen=True, repr=False)
class SiteDetail(Displayable):
    """One stored tensor on a few images.

    edges: borders shared by all histograms, of at most BINS bins; each holds as many values of the last lane's format
    as the others. counts: values in each bin, for "float" and each lane.
    limits: least and greatest value of each lane's format. scales: distance of two of its values.
    channel_low, channel_high: extremes of each channel (axis 1) of the float tensor, empty where it has no such axis.
    weight_magnitudes: largest weight of each output channel. weight_edges, weight_counts: a histogram of the weight,
    merged with BatchNorm, in float and in the last lane; empty where there is none.
    maps: the channels [H, W] that differ most, for their size; empty where a channel is no picture.
    """

    site: Site
    images: int
    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]
    limits: Mapping[str, tuple[float, float]]
    scales: Mapping[str, float]
    channel_low: tuple[float, ...]
    channel_high: tuple[float, ...]
    weight_magnitudes: tuple[float, ...]
    weight_edges: tuple[float, ...] = ()
    weight_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    maps: tuple[FeatureMap, ...] = ()

    @property
    def channel_magnitudes(self) -> tuple[float, ...]:
        """The largest magnitude of each channel of the float tensor."""
        return tuple(max(abs(a), abs(b)) for a, b in zip(self.channel_low, self.channel_high, strict=True))

    def report(self) -> Report:
        """Histograms of the output and of the weights, and the channels."""
        blocks: list[Block | None] = [
            output_chart(
                f"Output of {self.site}, {self.images} images", self.edges, self.counts, self.limits, self.scales
            ),
            weight_chart(f"Weights of {self.site}, BatchNorm merged", self.weight_edges, self.weight_counts),
            channel_chart(str(self.site), self.channel_magnitudes, self.weight_magnitudes),
        ]
        if self.channel_high or self.weight_magnitudes:
            blocks.append(channel_table(self.channel_low, self.channel_high, self.weight_magnitudes))
        limits, scales = dict(self.limits), dict(self.scales)
        data = {"site": str(self.site), "images": self.images, "limits": limits, "scales": scales}
        shown = tuple(block for block in blocks if block is not None)
        return Report(f"{self.site}, close up", shown, "site-detail", data)
