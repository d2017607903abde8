"""A number format with its scale: what turns reals into integers."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qdiag.numerics.channels import by_channel
from qdiag.numerics.power_of_two import ceil_log2, ceil_log2_of
from qdiag.numerics.qscheme import QScheme
from qdiag.numerics.qtype import QType
from qdiag.numerics.ranges.range import Range
from qdiag.numerics.rounding import Rounding


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
        """2^exponent; for channels a tensor that broadcasts against `like`.

        Args:
            like: A tensor that has the format's channels along its axis.

        >>> by_channel_format = QParams(QType(8, signed=True), torch.tensor([-7, -3]), axis=0)
        >>> by_channel_format.scale(torch.zeros(2, 4)).tolist()
        [[0.0078125], [0.125]]
        """
        if isinstance(self.exponent, int):
            return 2.0**self.exponent
        return by_channel(torch.exp2(self.exponent.to(like)), like, self.axis or 0)

    @property
    def tensor_scale(self) -> float:
        """The scale of a per-tensor format."""
        return 2.0 ** int(self.exponent)

    @property
    def scale_tensor(self) -> Tensor:
        """The scale as float32: [] of a per-tensor format, else one for each channel [C].

        >>> QParams(QType(8, signed=True), -2).scale_tensor
        tensor(0.2500)
        """
        return torch.tensor(self.tensor_scale if self.axis is None else self.scales)

    @property
    def scales(self) -> list[float]:
        """One for each channel; just one of a per-tensor format."""
        return [2.0**exponent for exponent in torch.as_tensor(self.exponent).reshape(-1).tolist()]

    @property
    def low(self) -> float:
        """The least value that the (per-tensor) format holds."""
        return self.qtype.qmin * self.tensor_scale

    @property
    def high(self) -> float:
        """The greatest value that the (per-tensor) format holds."""
        return self.qtype.qmax * self.tensor_scale

    @property
    def clip_exponent(self) -> int | Tensor:
        """log2 of the power of two that the format ends at, by channel as `exponent` is."""
        return self.exponent + (self.qtype.bits - self.qtype.signed)

    @property
    def clip(self) -> float:
        """The power of two that the (per-tensor) format ends at: one scale above `high`.

        >>> QParams(QType(8, signed=True), -5).clip, QParams(QType(8, signed=True), -5).high
        (4.0, 3.96875)
        """
        return 2.0 ** int(self.clip_exponent)

    def used_bits(self, magnitude: float, channel: int = 0) -> float:
        """Bits that a channel of this magnitude takes, its sign included.

        Args:
            magnitude: The largest of the channel.
            channel: Which it is; all have one scale in a per-tensor format.

        >>> QParams(QType(8, signed=True), -7).used_bits(0.25), QParams(QType(8, signed=True), -7).used_bits(0.0)
        (6.0, 0.0)
        """
        return math.log2(max(magnitude / self.scales[0 if self.axis is None else channel], 0.5)) + 1

    def headroom_bits(self, seen: Range) -> float:
        """Bits between the largest value seen and the (per-tensor) format's end: unused, or clipped where negative.

        Args:
            seen: Extremes of the values.

        >>> QParams(QType(8, signed=True), -5).headroom_bits(Range(-1.0, 2.0))
        1.0
        """
        return math.log2(self.clip / seen.magnitude) if seen.magnitude else math.inf

    def finer(self, bits: int) -> "QParams":
        """The format that many bits finer, and as much shorter.

        Args:
            bits: How many.

        >>> str(QParams(QType(8, signed=True), -5).finer(2))
        'int8 · 2^-7'
        """
        return dataclasses.replace(self, exponent=self.exponent - bits)

    def bits_finer(self, than: "QParams") -> int:
        """How many bits finer the (per-tensor) format is; coarser where negative.

        Args:
            than: Another per-tensor format.

        >>> coarse = QParams(QType(8, signed=True), -5)
        >>> coarse.finer(2).bits_finer(coarse), coarse.bits_finer(coarse.finer(2))
        (2, -2)
        """
        return int(than.exponent) - int(self.exponent)

    def __str__(self) -> str:
        if isinstance(self.exponent, int):
            return f"{self.qtype} · 2^{self.exponent}"
        return f"{self.qtype} · 2^{int(self.exponent.min())}…2^{int(self.exponent.max())} per channel"


def activation_qparams(scheme: QScheme, observed: Range) -> QParams:
    """The format for a tensor whose values were seen between observed.low and observed.high.

    Signed only where it must be: values below zero that an unsigned format would round to zero cost no bit. Zeros alone
    say nothing about the scale: their range is 1, whose scale lets the biases of what reads them fit the accumulator.

    Args:
        scheme: Bits and rounding; its sign where it is given.
        observed: Of the tensor's values.

    >>> str(activation_qparams(QScheme(8), Range(0.0, 6.0)))
    'uint8 · 2^-5'
    >>> str(activation_qparams(QScheme(8), Range(-3.0, 1.0)))
    'int8 · 2^-5'
    """
    clip_exponent = ceil_log2(observed.magnitude or 1.0)
    signed = observed.low < -(2.0 ** (clip_exponent - scheme.bits - 1)) if scheme.signed is None else scheme.signed
    return QParams(QType(scheme.bits, signed), clip_exponent - (scheme.bits - signed), scheme.rounding)


def weight_qparams(scheme: QScheme, weight: Tensor, clip_exponent: Tensor | None = None) -> QParams:
    """The signed format for a weight by its largest magnitude: of the tensor, or of each channel.

    Args:
        scheme: Bits, rounding, and the axis of the channels.
        weight: Merged, as it is to be rounded.
        clip_exponent: log2 of the format's end, where that is known: [], or for each channel [C].

    >>> str(weight_qparams(QScheme(8), torch.tensor([[0.3, -0.7]])))
    'int8 · 2^-7'
    """
    qtype, axis = QType(scheme.bits, signed=True), scheme.axis
    if clip_exponent is not None:
        exponent = int(clip_exponent) if axis is None else clip_exponent
        return QParams(qtype, exponent - (scheme.bits - 1), scheme.rounding, axis)
    magnitude = weight.detach().abs()
    if axis is None:
        return QParams(qtype, ceil_log2(float(magnitude.max())) - (scheme.bits - 1), scheme.rounding)
    largest = magnitude.amax(dim=[d for d in range(weight.ndim) if d != axis])
    return QParams(qtype, ceil_log2_of(largest) - (scheme.bits - 1), scheme.rounding, axis)
