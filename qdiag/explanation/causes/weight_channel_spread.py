"""One scale for channels whose weights are of very different size."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.causes.weight_outlier import WeightOutlier

SPREAD = 16.0
"""Channels 2^4 apart: the smaller one has 4 bits fewer than the format."""


class WeightChannelSpread(Cause):
    """The largest channel sets the scale, and the smallest is left with few bits (arXiv:1906.04721, section 3)."""

    name = "weight-channel-spread"
    title = "channels' weights differ in size"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        weight = suspect.error.weight
        shares_scale = weight is not None and weight.channel_spread > SPREAD and weight.poorest_bits < 5
        if weight is None or not shares_scale or WeightOutlier.judge(suspect) is not None:
            return None
        least, most = (weight.channel_magnitudes[c] for c in (weight.poorest_channel, weight.widest_channel))
        option = "depthwise" if suspect.layer.is_depthwise else "all"
        return cls.evidence(
            suspect.error.weight_share,
            f"channel {weight.widest_channel}'s weights reach {most:.3g}, channel {weight.poorest_channel}'s only "
            f"{least:.2g}: {weight.channel_spread:.3g} times apart under one scale, which leaves the latter "
            f"{weight.poorest_bits:.1f} bits",
            f'per_channel="{option}" if the target has it; else equalize the channels, or train with quantization',
        )
