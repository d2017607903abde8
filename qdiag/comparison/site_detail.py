"""What `inspect()` found: one layer close up."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from qdiag.comparison.detail_page import page
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report
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
    ends: least and greatest value of each lane's format. steps: between two of its values.
    channel_low, channel_high: extremes of each channel (axis 1) of the float tensor, empty where it has no such axis.
    weight_magnitudes: largest weight of each output channel. weight_edges, weight_counts: a histogram of the weight,
    merged with BatchNorm, in float and in the last lane; empty where there is none.
    maps: the channels [H, W] that differ most, for their size; empty where a channel is no picture.
    """

    site: Site
    images: int
    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]
    ends: Mapping[str, tuple[float, float]]
    steps: Mapping[str, float]
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
        return page(self)
