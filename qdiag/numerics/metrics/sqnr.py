"""SQNR."""

import math

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class Sqnr(Metric):
    """Signal-to-quantization-noise ratio: 10 log10(sum r^2 / sum e^2); inf when equal, -inf when only r is zero."""

    key = "sqnr_db"
    title = "SQNR"
    unit = "dB"
    help = "signal power over error power; 6 dB are one bit"
    format = ".1f"
    higher_is_better = True

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        if moments.err2 == 0:
            return math.inf
        return 10 * math.log10(moments.ref2 / moments.err2) if moments.ref2 else -math.inf
