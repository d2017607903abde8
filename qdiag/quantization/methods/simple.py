"""Minimum and maximum."""

from qdiag.numerics.ranges.minmax import MinMax
from qdiag.numerics.ranges.range import RangeEstimator
from qdiag.quantization.methods.method import Method


class Simple(Method):
    """Ranges that clip nothing of what the calibration images showed."""

    name = "simple"

    @staticmethod
    def estimator() -> RangeEstimator:
        return MinMax()
