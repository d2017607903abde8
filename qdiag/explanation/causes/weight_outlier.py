"""A few weights far larger than all others."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect

PEAK = 16.0
"""Of normally distributed weights the largest is two or three times the one that nine in ten stay under."""


class WeightOutlier(Cause):
    """Not a channel but single weights set the scale, and all others are left with few steps (arXiv:1901.09504)."""

    name = "weight-outlier"
    title = "a few weights are far larger than all others"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        weight, share = suspect.error.weight, suspect.error.weight_share
        if weight is None or weight.peak < PEAK or share < 0.3:
            return None
        return cls.evidence(
            share,
            f"in channel {weight.widest_channel}, which sets the scale, the largest weight is {weight.peak:.3g} times "
            f"the one that nine in ten stay under; the rounded weights cause {share:.0%} of the noise this layer adds",
            "clear that weight where what it multiplies is always zero; else 16 bit for this layer",
        )
