"""A number format that somebody else chose."""

import math
from dataclasses import dataclass

import torch

from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType
from qdiag.numerics.rounding import Rounding

GIVEN = "qdiag.given_formats"
"""Where a loaded module holds its file's formats: in `meta`, as {"inputs": by name, in their order, None without one;
"tensors": by address; "weights": by the layer's address}."""


@dataclass(frozen=True)
class GivenFormat:
    """Integers as a file of QuantizeLinear has them: scale times (integer minus zero point).

    Attributes:
        bits: Of an integer.
        signed: Of the type that it is held in.
        scales: One, or one for each channel.
        zero_points: As many.
        axis: Where the channels lie; None for one scale.
    """

    bits: int
    signed: bool
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value of the first channel."""
        least = -(2 ** (self.bits - 1)) if self.signed else 0
        low, high = least - self.zero_points[0], least + 2**self.bits - 1 - self.zero_points[0]
        return low * self.scales[0], high * self.scales[0]

    @property
    def obstacle(self) -> str:
        """Why qdiag cannot compute in it, or ""."""
        shifted = {zero - (0 if self.signed else 2 ** (self.bits - 1)) for zero in self.zero_points}
        if shifted not in ({0}, {-(2 ** (self.bits - 1))}):
            return "its zero point is inside of its range"
        if any(math.frexp(scale)[0] != 0.5 for scale in self.scales):
            return "its scale is no power of two"
        return ""

    @property
    def qparams(self) -> QParams | None:
        """The same integers, held symmetric around zero or unsigned; None where there is an obstacle.

        >>> GivenFormat(8, False, (0.25,), (128,)).qparams == QParams(QType(8, True), -2, Rounding.HALF_EVEN)
        True
        """
        if self.obstacle:
            return None
        is_signed = self.zero_points[0] == (0 if self.signed else 2 ** (self.bits - 1))
        exponents = [math.frexp(scale)[1] - 1 for scale in self.scales]
        exponent = exponents[0] if self.axis is None else torch.tensor(exponents, dtype=torch.float32)
        return QParams(QType(self.bits, is_signed), exponent, Rounding.HALF_EVEN, self.axis)

    def __str__(self) -> str:
        steps = f"{self.scales[0]:.6g}" if len(self.scales) == 1 else f"{min(self.scales):.3g}…{max(self.scales):.3g}"
        zeros = sorted(set(self.zero_points))
        zero = f"{zeros[0]}" if len(zeros) == 1 else f"{zeros[0]}…{zeros[-1]}"
        return f"{'int' if self.signed else 'uint'}{self.bits}, scale {steps}, zero point {zero}"
