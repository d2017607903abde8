"""relative error."""

import math

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class RelativeError(Metric):
    """sqrt(sum e^2 / sum r^2); 0 when equal, inf when only the reference is zero."""

    key = "relative_error"
    title = "relative error"
    unit = ""
    help = "length of the error over length of the signal"
    format = ".2g"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        if moments.err2 == 0:
            return 0.0
        return math.sqrt(moments.err2 / moments.ref2) if moments.ref2 else math.inf
