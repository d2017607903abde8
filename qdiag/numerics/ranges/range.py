"""A range of values, and what an estimator of ranges can do."""

import math
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.power_of_two import ceil_log2


@dataclass(frozen=True)
class Range:
    """The least and the greatest value that a format has to hold."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        return max(abs(self.low), abs(self.high))

    @property
    def clip(self) -> float:
        """The least power of two that holds it: where its format ends.

        >>> Range(-1.0, 3.0).clip
        4.0
        """
        return 2.0 ** ceil_log2(self.magnitude)

    def wider(self, octaves: int) -> "Range":
        """2^octaves times as wide.

        Args:
            octaves: Powers of two; narrower where negative.

        >>> Range(-1.0, 3.0).wider(-1)
        Range(low=-0.5, high=1.5)
        """
        return Range(self.low * 2.0**octaves, self.high * 2.0**octaves)

    def within(self, clip: float) -> "Range":
        """What is left of it in a format that ends there.

        >>> Range(-8.0, 3.0).within(4.0)
        Range(low=-4.0, high=3.0)
        """
        return Range(max(self.low, -clip), min(self.high, clip))

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


def widening(octaves: int) -> str:
    """How much wider `Range.wider` makes a range, in words.

    Args:
        octaves: As for `Range.wider`.

    >>> widening(2), widening(-1)
    ('x 4', '/ 2')
    """
    return f"{'x' if octaves >= 0 else '/'} {2 ** abs(octaves)}"


class RangeEstimator(Protocol):
    """Sees a tensor's values batch by batch, and then gives a range."""

    def update(self, x: Float[Tensor, "..."]) -> None:
        """Take one batch into account.

        Args:
            x: The tensor's values on it.
        """

    def range(self) -> Range:
        """The range for all that was seen."""
