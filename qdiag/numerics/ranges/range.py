"""A range of values, and what an estimator of ranges can do."""

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Range:
    """The least and the greatest value that a format has to hold."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        return max(abs(self.low), abs(self.high))

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


class RangeEstimator(Protocol):
    """Sees a tensor's values batch by batch, and then gives a range."""

    def update(self, x: Tensor) -> None:
        """Take one batch into account."""

    def range(self) -> Range:
        """The range for all that was seen."""
