"""Rounding that gradients pass straight through (arXiv:1308.3432), inside the format's ends."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.channels import by_channel
from qdiag.numerics.fake_quantize import fake_quantize_, integer_bounds
from qdiag.numerics.power_of_two import ceil_log2_of
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qscheme import QScheme
from qdiag.numerics.qtype import QType
from qdiag.numerics.rounding import Rounding


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rounding: Rounding, low: float, high: float) -> Tensor:
        rounded = rounding(x)
        ctx.save_for_backward((rounded >= low) & (rounded <= high))
        return rounded.clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None


def round_through(x: Float[Tensor, "*shape"], rounding: Rounding, low: float, high: float) -> Float[Tensor, "*shape"]:
    """x rounded to whole numbers and clamped to [low, high]; the gradient is 1 inside and 0 outside.

    Args:
        x: In units of the scale.
        rounding: Of values between two whole numbers.
        low: The least code.
        high: The greatest code.

    >>> x = torch.tensor([0.4, 0.6, 9.0], requires_grad=True)
    >>> y = round_through(x, Rounding.HALF_UP, 0, 3); y.sum().backward(); y.detach(), x.grad
    (tensor([0., 1., 3.]), tensor([1., 1., 0.]))
    """
    result: Tensor = _Round.apply(x, rounding, low, high)
    return result


class _Store(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, qparams: QParams, bounds: tuple[float, float] | None, in_place: bool, remembered: bool
    ) -> Tensor:
        if in_place:
            ctx.mark_dirty(x)
        exact = x if in_place else x.float() if x.dtype in (torch.float16, torch.bfloat16) else x.clone()
        stored = fake_quantize_(exact, qparams, bounds)
        if qparams.qtype.bits <= 8:  # eight significant bits are what the least float type holds
            stored = stored.to(x.dtype)
        ctx.low, ctx.high = (end * qparams.tensor_scale for end in integer_bounds(qparams, bounds))
        ctx.dtype = x.dtype
        # The next layer keeps what is stored anyway, so that this takes no memory of its own.
        ctx.save_for_backward((stored > ctx.low).logical_and_(stored < ctx.high) if remembered else stored)
        return stored

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (saved,) = ctx.saved_tensors
        if saved.dtype == torch.bool:
            inside = gradients[0] * saved
        else:
            inside = torch.ops.aten.hardtanh_backward(gradients[0], saved, ctx.low, ctx.high)
        return inside.to(ctx.dtype), None, None, None, None


def store_through(
    x: Float[Tensor, "..."],
    qparams: QParams,
    bounds: tuple[float, float] | None = None,
    *,
    in_place: bool = False,
    overwritten: bool = False,
) -> Float[Tensor, "..."]:
    """`fake_quantize_` with gradients: 1 for what lies between the ends, and 0 for what was put on one.

    Args:
        x: Any values.
        qparams: A per-tensor format.
        bounds: Of a ReLU-like activation that is merged in.
        in_place: Overwrite x, which is float32 or float64, and no leaf or view.
        overwritten: The result will be, before the backward pass.

    >>> from qdiag.numerics.qtype import QType
    >>> x = torch.tensor([-1.0, 0.3, 9.0], requires_grad=True)
    >>> y = store_through(x, QParams(QType(4, signed=False), -2)); y.sum().backward(); y.detach(), x.grad
    (tensor([0.0000, 0.2500, 3.7500]), tensor([0., 1., 0.]))
    """
    result: Tensor = _Store.apply(x, qparams, bounds, in_place, overwritten)
    return result


class _Weight(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, scheme: QScheme, factor: Tensor, clip_exponent: Tensor | None, keeps_lost: bool
    ) -> Tensor:
        qtype = QType(scheme.bits, signed=True)
        scaled = weight * factor
        rows = scaled.flatten(1)
        largest = torch.maximum(rows.amax(1), -rows.amin(1))
        if clip_exponent is None:
            clip_exponent = ceil_log2_of(largest.amax(0) if scheme.axis is None else largest)
        scale = torch.exp2((clip_exponent - (qtype.bits - 1)).to(weight)).reshape(-1)
        along_channels = by_channel(scale, weight, 0)
        scaled.mul_(1 / along_channels)
        scheme.rounding.apply_(scaled).clamp_(qtype.qmin, qtype.qmax).mul_(along_channels / factor)
        if not keeps_lost:
            return scaled
        is_lost = scheme.rounding(largest / scale) == 0
        return torch.where(by_channel(is_lost, weight, 0), weight, scaled, out=scaled)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        return gradients[0], None, None, None, None


def weight_through(
    weight: Float[Tensor, "c ..."],
    scheme: QScheme,
    factor: Tensor,
    clip_exponent: Tensor | None = None,
    *,
    keeps_lost: bool = False,
) -> Float[Tensor, "c ..."]:
    """The weight as its product with the factor is rounded, divided by it again; the gradient is 1 everywhere.

    Args:
        weight: Output channels first.
        scheme: Its format.
        factor: What it is multiplied by before it is rounded; broadcasts against it.
        clip_exponent: log2 of the format's end, where that is known: [], or for each channel [C].
        keeps_lost: A channel that rounds to nothing keeps its own values, where BatchNorm learns from what it gives:
            zeros would teach it a variance of 0, and with it a factor that is far too large.

    >>> weight = torch.tensor([[0.3, -1.0], [0.02, 0.01]])
    >>> weight_through(weight, QScheme(4), torch.ones(1, 1), keeps_lost=True)
    tensor([[ 0.2500, -1.0000],
            [ 0.0200,  0.0100]])
    """
    result: Tensor = _Weight.apply(weight, scheme, factor, clip_exponent, keeps_lost)
    return result
