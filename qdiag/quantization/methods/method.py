"""What a calibration method is, and where all of them are found."""

from typing import Any, ClassVar

from qdiag.numerics.ranges.range import RangeEstimator
from qdiag.registry import Registry


class Method:
    """A way to choose ranges. name: as the user writes it."""

    name: ClassVar[str]

    @staticmethod
    def estimator() -> RangeEstimator:
        """A new estimator for one stored tensor."""
        raise NotImplementedError


def _is_method(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Method) and value is not Method


METHODS: Registry[type[Method]] = Registry("qdiag.quantization.methods", _is_method, lambda method: method.name)
