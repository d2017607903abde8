"""A bias that does not fit the accumulator."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect


class SaturatedBias(Cause):
    """bias / (input scale * weight scale) exceeds the accumulator's width: tiny scales meet a large bias."""

    name = "saturated-bias"
    title = "biases saturate"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        weight = suspect.error.weight
        if weight is None or not weight.saturated_biases:
            return None
        return cls.evidence(
            1.0,
            f"{weight.saturated_biases} of {len(weight.channel_magnitudes)} biases do not fit the accumulator",
            "weights or inputs of this layer are tiny: look at its BatchNorm's gamma and running variance",
        )
