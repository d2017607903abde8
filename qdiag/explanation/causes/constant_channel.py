"""A channel that is one large number everywhere."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.causes.wasted_range import WASTED_BITS

LOUDNESS = 8.0
CONSTANCY = 0.98
"""Its deviation is under a seventh of its mean."""


class ConstantChannel(Cause):
    """A channel that hardly depends on the image sets the range: all that it says fits into the next layer's bias."""

    name = "constant-channel"
    title = "a channel that is nearly constant sets the range"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        error = suspect.error
        share, wasted = error.rounded_share, error.accumulated.get("wasted_bits") or 0.0
        sets_the_range = error.loudness >= LOUDNESS and wasted < WASTED_BITS
        if not sets_the_range or error.constancy < CONSTANCY or share < 0.3 or error.format == "float":
            return None
        return cls.evidence(
            share,
            f"channel {error.loudest_channel} is {error.loudness:.3g} times as loud as the median channel, and nearly "
            f"the same everywhere; it sets the range, and rounding to {error.format} makes {share:.0%} of the noise",
            "add what the channel stands for to the next layer's bias, and leave it out; else 16 bit for this layer",
        )
