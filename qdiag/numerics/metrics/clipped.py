"""clipped."""

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class Clipped(Metric):
    """Share of reference values that the format cuts off rather than rounds, in percent; None without a format."""

    key = "clipped_percent"
    title = "clipped"
    unit = "%"
    help = "values of the float tensor that the format cuts off, by more than rounding"
    format = ".2f"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        return None if facts is None or moments.count == 0 else 100 * moments.clipped / moments.count
