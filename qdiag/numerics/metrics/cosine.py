"""cosine."""

import math

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class Cosine(Metric):
    """Cosine of the angle between reference and test: r.t / (|r| |t|), from r.t = r.r + r.e; 1 when both are zero."""

    key = "cosine"
    title = "cosine"
    unit = ""
    help = "direction of the tensor, 1 = same; blind to a wrong scale"
    format = ".5f"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        test2 = max(moments.ref2 + 2 * moments.cross + moments.err2, 0.0)
        if moments.ref2 == 0 or test2 == 0:
            return 1.0 if moments.ref2 == test2 else 0.0
        return (moments.ref2 + moments.cross) / math.sqrt(moments.ref2 * test2)
