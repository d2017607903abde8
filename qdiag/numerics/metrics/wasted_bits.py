"""wasted bits."""

import math

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class WastedBits(Metric):
    """log2(format's magnitude / largest reference magnitude), plus one for an unused sign; None without a format.

    A power-of-two range wastes up to one bit by itself.
    """

    key = "wasted_bits"
    title = "wasted bits"
    unit = "bit"
    help = "bits of the format that the float tensor never uses"
    format = ".1f"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        largest = max(abs(moments.low), abs(moments.high))
        if facts is None or largest == 0:
            return None
        unused_sign = facts.signed and moments.low >= 0
        return max(0.0, math.log2(max(-facts.low, facts.high) / largest)) + unused_sign
