"""How far one stored tensor is from float, in one lane."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from qdiag.tracing.site import Site
from qdiag.tracing.source import Source


@dataclass(frozen=True)
class WeightError:
    """What a format did to a layer's weight, merged with its BatchNorm.

    channel_spread: largest over smallest channel magnitude (channels of zeros left out).
    poorest_bits: bits that the channel with the least magnitude has left, sign included.
    channel_magnitudes: largest magnitude of each output channel. sqnr_db: of the whole weight.
    saturated_biases: channels whose bias does not fit the accumulator.
    """

    channel_spread: float
    poorest_bits: float
    poorest_channel: int
    widest_channel: int
    channel_magnitudes: tuple[float, ...]
    sqnr_db: float
    saturated_biases: int


@dataclass(frozen=True)
class LayerError:
    """One lane at one layer.

    accumulated: metrics of the stored tensor as it arises in the network, errors of earlier layers included.
    added: the same for the layer computed from float inputs: what this layer alone adds.
    added_noise: error over signal power of the layer from float inputs; rounding_noise: of rounding its float output
    alone; clipping_noise: the part of that which values beyond the format's ends make; weight_noise: of its weights;
    shift_noise: what the means of the channels' errors make of it. All are means over channels, each of which counts at
    most 1 (lost): a channel that is small by itself can be large to the next layer, since rescaling channels changes
    nothing in float.
    shifted_channel, shift: the channel whose mean moves farthest, and by how many of its standard deviations.
    loudest_channel, loudness: the stored tensor's channel of greatest power, and its amplitude over the median's.
    format: as uint8 · 2^-5; "float" where the tensor is not quantized.
    """

    format: str
    accumulated: Mapping[str, float | None]
    added: Mapping[str, float | None]
    added_noise: float
    rounding_noise: float
    weight_noise: float
    loudest_channel: int
    loudness: float
    weight: WeightError | None
    clipping_noise: float = 0.0
    shift_noise: float = 0.0
    shifted_channel: int = 0
    shift: float = 0.0

    @property
    def weight_share(self) -> float:
        """Part of the noise this layer adds that its weights cause, 0 to 1: what storing does not explain."""
        return min(1.0, max(0.0, 1.0 - self.rounding_noise / self.added_noise)) if self.added_noise > 0 else 0.0

    @property
    def clipped_share(self) -> float:
        """Part of the noise this layer adds that comes of values beyond its format's ends, 0 to 1."""
        return min(1.0, self.clipping_noise / self.added_noise) if self.added_noise > 0 else 0.0

    @property
    def rounded_share(self) -> float:
        """Part of the noise this layer adds that comes of the width of its output's grid, 0 to 1."""
        return max(0.0, 1.0 - self.weight_share - self.clipped_share)

    @property
    def inherited_share(self) -> float:
        """Part of the accumulated noise that came in with the inputs, 0 to 1."""
        accumulated, added = (m.get("relative_error") or 0.0 for m in (self.accumulated, self.added))
        return max(0.0, 1.0 - (added / accumulated) ** 2) if 0 < accumulated < math.inf else 0.0


@dataclass(frozen=True)
class LayerComparison:
    """One stored tensor in all lanes. title: depthwise conv2d, add …; sites: the operations it comes from."""

    site: Site
    title: str
    sites: tuple[Site, ...]
    source: Source | None
    is_weighted: bool
    is_depthwise: bool
    lanes: Mapping[str, LayerError]
