"""What a metric is, and where all of them are found."""

from dataclasses import dataclass
from typing import Any, ClassVar

from qdiag.numerics.moments import Moments
from qdiag.registry import Registry


@dataclass(frozen=True)
class FormatFacts:
    """What a metric may know of the test's number format: its least and greatest value, and its sign."""

    low: float
    high: float
    signed: bool


class Metric:
    """One figure of a comparison.

    key: column name, with its unit. title: as shown. help: what it says, in a sentence. format: how it is written.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str] = ""
    help: ClassVar[str]
    format: ClassVar[str] = ".3g"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        """The figure; None where it does not apply."""
        raise NotImplementedError


def _is_metric(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Metric) and value is not Metric


METRICS: Registry[type[Metric]] = Registry("qdiag.numerics.metrics", _is_metric, lambda metric: metric.key)
