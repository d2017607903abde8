"""A layer's weight and bias, made ready for the formats that the target holds them in."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.bias import quantize_bias
from qdiag.numerics.fake_quantize import fake_quantize
from qdiag.numerics.merge import NormState, merge
from qdiag.numerics.qparams import QParams, weight_qparams
from qdiag.numerics.qscheme import QScheme
from qdiag.numerics.shifts import bias_factor, weight_factor


@dataclass(frozen=True)
class WeightFormat:
    """How a layer's weight and bias are held.

    scheme: of the weight; None keeps both in float. clip_exponent: log2 of the weight format's end where that is kept,
    [] or by output channel [C]; None lets the largest weight decide. input: the format of the tensor that the layer
    reads; None keeps the bias in float. accumulator_bits: the width that the bias is added in. written, read: shifts
    of the channels that the layer writes [C] and reads [C_in]. groups: of the convolution.
    """

    scheme: QScheme | None = None
    clip_exponent: Tensor | None = None
    input: QParams | None = None
    accumulator_bits: int = 32
    written: Tensor | None = None
    read: Tensor | None = None
    groups: int = 1

    @property
    def free(self) -> "WeightFormat":
        """The same, whose end the largest weight decides."""
        return replace(self, clip_exponent=None)

    def factor(self, weight: Tensor) -> Tensor:
        """What the target multiplies a weight [C, C_in/groups, ...] by, for the shifts around it."""
        return weight_factor(weight, self.written, self.read, self.groups)

    def bias_factor(self, bias: Tensor) -> Tensor:
        """What the target multiplies a bias [C] by, for the shifts of the channels that the layer writes."""
        return bias_factor(self.written, bias)

    def qparams(self, scaled: Tensor) -> QParams | None:
        """The format of a weight, already multiplied by its factor; None in float."""
        if self.scheme is None:
            return None
        return weight_qparams(self.scheme, scaled, self.clip_exponent)


@dataclass(frozen=True)
class WeightFacts:
    """What became of a layer's weight, merged with its BatchNorm.

    channel_max: largest magnitude of each output channel [C], before quantization. qparams: None in a float plan.
    signal, noise: sums of squares of the weight and of its rounding error, for each output channel [C].
    saturated: bias channels that do not fit the accumulator. input_max: largest magnitude of what each input channel is
    multiplied by [C_in]; None in a grouped convolution. peak: of the channel that reaches farthest, see `peak`.
    """

    channel_max: Tensor
    qparams: QParams | None
    signal: Tensor
    noise: Tensor
    saturated: int
    input_max: Tensor | None = None
    peak: Tensor | None = None


@dataclass(frozen=True)
class ReadyWeight:
    """What a layer multiplies by and adds, in the user's own scale; weight: output channels first."""

    weight: Tensor
    bias: Tensor | None
    facts: WeightFacts


def ready_weight(
    weight: Float[Tensor, "c ..."], bias: Float[Tensor, " c"] | None, norm: NormState | None, format: WeightFormat
) -> ReadyWeight:
    """Merge BatchNorm into a weight (output channels first) and its bias, and round both to their formats.

    The weight is rounded as the target holds it, shifts multiplied in, and divided again; the bias to multiples of the
    accumulator's scale.

    >>> import torch
    >>> ready = ready_weight(torch.tensor([[0.3, -1.0]]), None, None, WeightFormat(QScheme(4)))
    >>> ready.weight, str(ready.facts.qparams)
    (tensor([[ 0.2500, -1.0000]]), 'int4 · 2^-3')
    """
    merged, offset = (weight, bias) if norm is None else merge(weight, bias, norm)
    factor = format.factor(merged)
    scaled = merged * factor
    qparams, rounded, saturated = format.qparams(scaled), merged, 0
    if qparams is not None:
        rounded = fake_quantize(scaled, qparams) / factor
        if offset is not None and format.input is not None:
            offset, saturated = _rounded_bias(offset, qparams, format.input, format)
    rows, errors = scaled.flatten(1), (rounded - merged).mul_(factor).flatten(1)
    largest = rows.abs().amax(1)
    facts = WeightFacts(
        channel_max=largest,
        qparams=qparams,
        signal=rows.square().sum(1),
        noise=errors.square().sum(1),
        saturated=saturated,
        input_max=scaled.abs().transpose(0, 1).flatten(1).amax(1) if format.groups == 1 and scaled.ndim > 1 else None,
        peak=peak(rows[largest.argmax()]) if rows.numel() else None,
    )
    return ReadyWeight(rounded, offset, facts)


def peak(channel: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The largest magnitude over the one that nine in ten stay under; 1 where that is 0, as in a sparse channel.

    >>> peak(torch.tensor([1.0, -2.0, 1.0, 64.0])), peak(torch.tensor([0.0, 0.0, 0.0, 5.0]))
    (tensor(32.), tensor(1.))
    """
    magnitudes = channel.detach().abs()
    usual = magnitudes.kthvalue(max(1, int(0.9 * len(channel)))).values
    return torch.where(usual > 0, magnitudes.amax() / usual, 1.0)


def _rounded_bias(bias: Tensor, weight: QParams, read: QParams, format: WeightFormat) -> tuple[Tensor, int]:
    """The bias as the accumulator takes it, and how many channels saturated."""
    own = format.bias_factor(bias)
    rounded, saturated = quantize_bias(bias * own, read.scale(bias) * weight.scale(bias), format.accumulator_bits)
    return rounded / own, saturated
