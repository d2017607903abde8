"""A range so wide that the usual values get few steps."""

from qdiag.explanation.causes.activation_channel_spread import ActivationChannelSpread
from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.causes.constant_channel import ConstantChannel
from qdiag.explanation.causes.large_offset import LargeOffset
from qdiag.explanation.causes.wasted_range import WastedRange


class CoarseActivation(Cause):
    """Rounding the stored tensor makes most of the noise: a few large values, or a power of two, set its scale."""

    name = "coarse-activation"
    title = "the stored tensor's range is wide for its usual values"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        share = suspect.error.rounded_share
        others = (ActivationChannelSpread, ConstantChannel, LargeOffset, WastedRange)
        if share < 0.5 or any(cause.judge(suspect) for cause in others) or suspect.error.format == "float":
            return None
        wasted = suspect.error.accumulated.get("wasted_bits") or 0.0
        has_relu = any(site.op == "relu" for site in suspect.layer.sites)
        return cls.evidence(
            share,
            f"rounding the output to {suspect.error.format} causes {share:.0%} of the noise that this layer adds "
            f"({wasted:.1f} bits of the format are never used)",
            "a range from the histogram rather than from the extremes"
            + ("; ReLU6 in place of ReLU bounds it by design" if has_relu else ""),
        )
