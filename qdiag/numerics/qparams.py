"""A number format with its scale: what turns reals into integers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from qdiag.numerics.qscheme import QScheme
from qdiag.numerics.qtype import QType
from qdiag.numerics.ranges.range import Range
from qdiag.numerics.rounding import Rounding

MIN_EXPONENT = -16
"""The smallest range is 2^-16: a tensor of zeros gets a format too (QUANTIZATION: PACT2)."""


@dataclass(frozen=True)
class QParams:
    """Integers of a type, each worth 2^exponent; zero is 0.

    exponent: one number, or one for each channel [C] with `axis` saying where the channels lie.
    """

    qtype: QType
    exponent: int | Tensor
    rounding: Rounding = Rounding.HALF_UP
    axis: int | None = None

    def scale(self, like: Tensor) -> float | Tensor:
        """2^exponent; for channels a tensor that broadcasts against `like`."""
        if isinstance(self.exponent, int):
            return 2.0**self.exponent
        shape = [1] * like.ndim
        shape[self.axis or 0] = -1
        return torch.exp2(self.exponent.to(like)).reshape(shape)

    @property
    def low(self) -> float:
        """The least value that the (per-tensor) format holds."""
        return self.qtype.qmin * 2.0 ** int(self.exponent)

    @property
    def high(self) -> float:
        """The greatest value that the (per-tensor) format holds."""
        return self.qtype.qmax * 2.0 ** int(self.exponent)

    def __str__(self) -> str:
        if isinstance(self.exponent, int):
            return f"{self.qtype} · 2^{self.exponent}"
        return f"{self.qtype} · 2^{int(self.exponent.min())}…2^{int(self.exponent.max())} per channel"


def activation_qparams(scheme: QScheme, observed: Range) -> QParams:
    """The format for a tensor whose values were seen between observed.low and observed.high.

    Signed only where it must be: values below zero that an unsigned format would round to zero cost no bit. Zeros alone
    say nothing about the scale: their range is 1, whose step lets the biases of what reads them fit the accumulator.

    >>> str(activation_qparams(QScheme(8), Range(0.0, 6.0)))
    'uint8 · 2^-5'
    >>> str(activation_qparams(QScheme(8), Range(-3.0, 1.0)))
    'int8 · 2^-5'
    """
    top = ceil_log2(observed.magnitude or 1.0)
    signed = observed.low < -(2.0 ** (top - scheme.bits - 1)) if scheme.signed is None else scheme.signed
    return QParams(QType(scheme.bits, signed), top - (scheme.bits - signed), scheme.rounding)


def weight_qparams(scheme: QScheme, weight: Tensor, axis: int | None, top: Tensor | None = None) -> QParams:
    """The signed format for a weight by its largest magnitude: of the tensor, or of each index along `axis`.

    top: log2 of the format's end, where that is known: [], or for each index [C].
    """
    qtype = QType(scheme.bits, signed=True)
    if top is not None:
        exponent = int(top) if axis is None else top
        return QParams(qtype, exponent - (scheme.bits - 1), scheme.rounding, axis)
    magnitude = weight.detach().abs()
    if axis is None:
        return QParams(qtype, ceil_log2(float(magnitude.max())) - (scheme.bits - 1), scheme.rounding)
    largest = magnitude.amax(dim=[d for d in range(weight.ndim) if d != axis])
    return QParams(qtype, ceil_log2_of(largest) - (scheme.bits - 1), scheme.rounding, axis)


def ceil_log2(x: float) -> int:
    """The least k with x <= 2^k, exactly: a power of two keeps its own; never below MIN_EXPONENT.

    >>> ceil_log2(1.0), ceil_log2(1.0001), ceil_log2(0.0)
    (0, 1, -16)
    """
    return int(ceil_log2_of(torch.tensor(x, dtype=torch.float64)))


def ceil_log2_of(x: Tensor) -> Tensor:
    """`ceil_log2` of every element, as integers of the same shape."""
    mantissa, exponent = torch.frexp(x)  # x = mantissa * 2^exponent with mantissa in [0.5, 1)
    return torch.where(mantissa == 0.5, exponent - 1, exponent).clamp(min=MIN_EXPONENT).where(x > 0, MIN_EXPONENT)
