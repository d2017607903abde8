"""max error."""

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class MaxError(Metric):
    """Largest absolute deviation of a single value, in the tensor's own unit."""

    key = "max_error"
    title = "max error"
    unit = ""
    help = "largest single deviation, in the tensor's own unit"
    format = ".3g"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        return moments.max_error
