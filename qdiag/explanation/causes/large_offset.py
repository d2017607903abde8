"""Values far off zero, beside how much they vary."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.causes.wasted_range import WASTED_BITS

OFFSET = 4.0
"""A mean of four deviations takes two bits that say nothing."""


class LargeOffset(Cause):
    """A symmetric format spends its steps on the way from zero to where the values are."""

    name = "large-offset"
    title = "values lie far off zero"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        error = suspect.error
        share, wasted = error.rounded_share, error.accumulated.get("wasted_bits") or 0.0
        if error.offset < OFFSET or wasted >= WASTED_BITS or share < 0.3 or error.format == "float":
            return None
        return cls.evidence(
            share,
            f"the median channel's mean is {error.offset:.3g} of its standard deviations off zero, so that most of "
            f"{error.format}'s steps are not used; rounding causes {share:.0%} of the noise",
            "take the offset out of this layer's bias and add it to that of the next; else 16 bit for this layer",
        )
