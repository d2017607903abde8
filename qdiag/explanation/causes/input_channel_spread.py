"""One scale for weights of input channels that differ in size."""

from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.explanation.causes.weight_channel_spread import SPREAD, WeightChannelSpread
from qdiag.explanation.causes.weight_outlier import WeightOutlier


class InputChannelSpread(Cause):
    """What multiplies loud inputs is small: a scale for each output channel does not help, equalizing does."""

    name = "input-channel-spread"
    title = "weights of input channels differ in size"

    @classmethod
    def judge(cls, suspect: Suspect) -> Evidence | None:
        weight, share = suspect.error.weight, suspect.error.weight_share
        others = (WeightChannelSpread.judge(suspect), WeightOutlier.judge(suspect))
        if weight is None or weight.input_spread < SPREAD or weight.poorest_input_bits >= 5 or any(others):
            return None
        if share < 0.3:
            return None
        return cls.evidence(
            share,
            f"what multiplies its input channels is {weight.input_spread:.3g} times apart, and one scale leaves "
            f"the smallest {weight.poorest_input_bits:.1f} bits; the weights cause {share:.0%} of the noise",
            "equalize the channels with the layer before; else 16 bit for this layer",
        )
