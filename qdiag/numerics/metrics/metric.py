"""What a metric is, and where all of them are found."""

from dataclasses import dataclass
from typing import Any, ClassVar

from qdiag.numerics.moments import Moments
from qdiag.registry import Registry


@dataclass(frozen=True)
class FormatFacts:
    """What a metric may know of the test's number format.

    Attributes:
        low: Its least value.
        high: Its greatest value.
        signed: Whether it holds values below zero.
    """

    low: float
    high: float
    signed: bool


class Metric:
    """One figure of a comparison.

    Attributes:
        key: Column name, with its unit.
        title: As shown.
        unit: As shown; "" for a ratio.
        help: What it says, in a sentence.
        format: How it is written.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = ""
    help: ClassVar[str]
    format: ClassVar[str] = ".3g"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        """The figure; None where it does not apply.

        Args:
            moments: Sums over the reference and the error.
            facts: The test's format; None in float.
        """
        raise NotImplementedError


def _is_metric(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Metric) and value is not Metric


METRICS: Registry[type[Metric]] = Registry("qdiag.numerics.metrics", _is_metric, lambda metric: metric.key)
