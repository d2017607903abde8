"""Weights that eight bits under one scale do not resolve."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.causes.input_channel_spread import InputChannelSpread
from qdiag.explanation.causes.weight_channel_spread import WeightChannelSpread
from qdiag.explanation.causes.weight_outlier import WeightOutlier


class CoarseWeight(Cause):
    """Rounding the weights makes most of the noise, though no channel is far smaller than the others."""

    name = "coarse-weight"
    title = "weights are rounded coarsely"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        weight, share = suspect.error.weight, suspect.error.weight_share
        others = (WeightChannelSpread.judge(suspect), InputChannelSpread.judge(suspect), WeightOutlier.judge(suspect))
        if weight is None or share < 0.5 or any(others):
            return None
        return cls.evidence(
            share,
            f"the rounded weights are at {weight.sqnr_db:.0f} dB and cause {share:.0%} of the noise this layer adds",
            "adaptive rounding or bias correction; else 16 bit for this layer, or train with quantization",
        )
