"""Peak signal over noise: a metric of our own."""

import math

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class PeakSqnr(Metric):
    """10 log10(peak^2 / mean square error), in dB; infinite where nothing was lost.

    The peak is the reference's largest magnitude, so that a tensor of few large values is not judged by its power.
    """

    key = "peak_sqnr_db"
    title = "peak SQNR"
    unit = "dB"
    help = "largest value over the error's mean, 6 dB = 1 bit"
    format = ".1f"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        peak = max(abs(moments.low), abs(moments.high))
        if moments.count == 0 or peak == 0:
            return None
        error = moments.err2 / moments.count
        return 10 * math.log10(peak**2 / error) if error > 0 else math.inf
