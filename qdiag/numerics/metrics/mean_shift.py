"""mean shift."""

import math

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class MeanShift(Metric):
    """Mean error over the reference's standard deviation: what bias correction removes; 0 without error."""

    key = "mean_shift"
    title = "mean shift"
    unit = "σ"
    help = "mean of the error over the signal's standard deviation; a bias that averaging will not remove"
    format = ".3f"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        if moments.count == 0 or moments.err == 0:
            return 0.0
        variance = moments.ref2 / moments.count - (moments.ref / moments.count) ** 2
        return (
            moments.err / moments.count / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, moments.err)
        )
