"""One scale for channels whose values are of very different size."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.causes.constant_channel import ConstantChannel
from qdiag.explanation.causes.wasted_range import WASTED_BITS

LOUDNESS = 8.0
"""A channel 2^3 above the median leaves the usual channel 3 bits fewer than the format has."""


class ActivationChannelSpread(Cause):
    """One loud channel sets the tensor's range, and the usual channels get few steps (arXiv:1906.04721, section 3)."""

    name = "activation-channel-spread"
    title = "one channel is far louder than the others"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        error = suspect.error
        share, wasted = error.rounded_share, error.accumulated.get("wasted_bits") or 0.0
        sets_the_range = error.loudness >= LOUDNESS and wasted < WASTED_BITS
        is_constant = ConstantChannel.judge(suspect) is not None
        if not sets_the_range or is_constant or share < 0.3 or error.format == "float":
            return None
        return cls.evidence(
            share,
            f"channel {error.loudest_channel} is {error.loudness:.3g} times as loud as the median channel and sets the "
            f"range, so that rounding to {error.format} causes {share:.0%} of the noise this layer adds",
            "equalize the channels with the next layer; else 16 bit for this layer",
        )
