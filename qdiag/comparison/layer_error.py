"""How far one stored tensor is from float, in one lane."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from qdiag.tracing.site import Site
from qdiag.tracing.source import Source


@dataclass(frozen=True)
class WeightError:
    """What a format did to a layer's weight, merged with its BatchNorm.

    Attributes:
        channel_spread: Largest over smallest channel magnitude, channels of zeros left out.
        poorest_bits: Bits that the channel with the least magnitude has left, sign included.
        poorest_channel: The channel with the least magnitude.
        widest_channel: The channel with the largest magnitude.
        channel_magnitudes: Largest magnitude of each output channel.
        sqnr_db: Of the whole weight.
        saturated_biases: Channels whose bias does not fit the accumulator.
        input_spread: Largest over smallest magnitude of what input channels are multiplied by, zeros left out; 1 in a
            grouped convolution.
        poorest_input_bits: Bits that the input channel with the least magnitude has left, sign included.
        peak: Of the channel that sets the scale, its largest weight over the one that nine in ten stay under.
    """

    channel_spread: float
    poorest_bits: float
    poorest_channel: int
    widest_channel: int
    channel_magnitudes: tuple[float, ...]
    sqnr_db: float
    saturated_biases: int
    input_spread: float = 1.0
    poorest_input_bits: float = math.inf
    peak: float = 1.0


@dataclass(frozen=True)
class LayerError:
    """One lane at one layer.

    Noises are error over signal power, as means over channels, each of which counts at most 1 (lost): a channel that is
    small by itself can be large to the next layer, since rescaling channels changes nothing in float.

    Attributes:
        format: As uint8 · 2^-5; "float" where the tensor is not quantized.
        accumulated: Metrics of the stored tensor as it arises in the network, errors of earlier layers included.
        added: The same for the layer computed from float inputs: what this layer adds by itself.
        added_noise: Of the layer computed from float inputs.
        rounding_noise: Of rounding its float output, weights left in float.
        weight_noise: Of its weights.
        loudest_channel: The stored tensor's channel of greatest power.
        loudness: The amplitude of that channel over the median's.
        weight: What became of the weight; None where there is none.
        clipping_noise: The part of `rounding_noise` which values beyond the format's ends make.
        shift_noise: What the means of the channels' errors make of `added_noise`.
        shifted_channel: The channel whose mean moves farthest.
        shift: By how many of its standard deviations that channel's mean moves.
        constancy: The part of the loudest channel's power that its mean makes: 1 where it is the same everywhere.
        offset: Of the median channel, its mean over its standard deviation.
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
    constancy: float = 0.0
    offset: float = 0.0

    def blamed(self, weights: float) -> "LayerError":
        """The same with this part of its noise, 0 to 1, laid to its weights, as trials at the output found.

        Args:
            weights: Their part.
        """
        rounding = (1.0 - weights) * self.added_noise
        clipped = self.clipping_noise / self.rounding_noise if self.rounding_noise else 0.0
        return replace(self, rounding_noise=rounding, clipping_noise=rounding * min(1.0, clipped))

    @property
    def added_percent(self) -> float:
        """What this layer adds by itself, in percent of its signal; shares of the noise part it in what is drawn."""
        return 100 * math.sqrt(self.added_noise)

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
    """One stored tensor in all lanes.

    Attributes:
        site: Its address.
        title: As "depthwise conv2d" or "add".
        sites: The operations that it comes from.
        source: The user's line.
        is_weighted: Whether the layer has a weight.
        is_depthwise: Whether the layer is a depthwise convolution.
        lanes: Its error in each.
    """

    site: Site
    title: str
    sites: tuple[Site, ...]
    source: Source | None
    is_weighted: bool
    is_depthwise: bool
    lanes: Mapping[str, LayerError]
