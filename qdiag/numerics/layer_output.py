"""What a layer computes before it is rounded, beside what a device stored of it."""

from dataclasses import dataclass

from torch import Tensor

from qdiag.numerics.device_roundings import ROUNDINGS
from qdiag.numerics.qtype import QType

FLOAT_BITS = 24
"""That a number in float32 has."""
FLOAT_ERROR = 2.0**-21
"""Of the largest value: what sums in float32 may be off by."""


@dataclass(frozen=True)
class LayerOutput:
    """One stored tensor, in steps of its format.

    >>> import torch
    >>> exact = torch.tensor([[0.5, 1.5, 3.2]], dtype=torch.float64)
    >>> output = LayerOutput(exact, torch.tensor([[0.0, 2.0, 3.0]]), -128, 127, QType(8, signed=True))
    >>> output.fits("half to even"), output.fits("down")
    (True, False)

    Attributes:
        exact: Before rounding and clamping [N, C, ...], float64.
        found: The device's integers, same shape.
        low: The least integer that may be stored, with the bounds of a ReLU in it.
        high: The greatest.
        qtype: The type of the integers.
        bias: What was added, to broadcast against `exact`; None where there is none.
        axis: Where channels lie.
    """

    exact: Tensor
    found: Tensor
    low: float
    high: float
    qtype: QType
    bias: Tensor | None = None
    axis: int = 1

    def codes(self, exact: Tensor, rounding: str) -> Tensor:
        """What is stored of other values than `exact`.

        Args:
            exact: In steps.
            rounding: One of `ROUNDINGS`.
        """
        return ROUNDINGS[rounding](exact).clamp(self.low, self.high)

    def differing(self, codes: Tensor) -> int:
        """How many of the device's integers are others than these.

        Args:
            codes: Integers of the same shape.
        """
        return int((codes != self.found).sum())

    def by_channel(self, values: Tensor) -> Tensor:
        """A row for each channel [C, n].

        Args:
            values: Of the shape of `exact`.
        """
        return values.movedim(self.axis, 0).flatten(1) if values.ndim > 1 else values.reshape(1, -1)

    def along_channels(self, values: Tensor) -> Tensor:
        """One value for each channel, to broadcast against `exact`.

        Args:
            values: [C].
        """
        shape = [1] * self.exact.ndim
        if self.exact.ndim > 1:
            shape[self.axis] = -1
        return values.reshape(shape)

    def fits(self, rounding: str) -> bool:
        """Whether this rounding gives the device's integers, as far as sums in float32 tell.

        Args:
            rounding: One of `ROUNDINGS`.
        """
        slack = FLOAT_ERROR * max(1.0, float(self.exact.abs().max()))
        near = [self.codes(self.exact + off, rounding) for off in (-slack, slack)]
        return bool(((self.found >= near[0]) & (self.found <= near[1])).all())

    @property
    def beyond_rounding(self) -> float:
        """How far outside half a step the device's integers lie from the exact values, at most; NaN where one is."""
        aim = self.exact.clamp(self.low, self.high)
        return max(float((self.found - aim).abs().max()) - 0.5, 0.0) if self.found.numel() else 0.0

    @property
    def is_exact(self) -> bool:
        """Whether the values are whole multiples of one unit, counted in 24 bits: sums of products of integers are.

        Floats give such a sum exactly, in whatever order they add; a quotient, a root or an exponential they round.
        """
        units = self.exact.clamp(self.low - 1, self.high + 1) * 2.0 ** (FLOAT_BITS - self.qtype.bits)
        return bool((units == units.round()).all())

    @property
    def is_constant(self) -> bool:
        return bool((self.found == self.found.reshape(-1)[0]).all())

    @property
    def values_by_channel(self) -> int:
        return self.by_channel(self.found).shape[1]
