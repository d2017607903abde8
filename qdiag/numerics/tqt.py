"""TQT: the ends of formats learned by gradients, as powers of two (Jain et al., arXiv:1903.08066)."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.fake_quantize import fake_quantize_
from qdiag.numerics.qparams import QParams

MIDDLE = 0.5
"""Below the power of two that a threshold is rounded up to: as far from a finer format as from a coarser one."""


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor, qparams: QParams, bounds: tuple[float, float] | None) -> Tensor:
        exact = x.float() if bounds is None else x.float().clamp(*bounds)
        ctx.save_for_backward(exact)  # the result may be overwritten before the backward pass
        ctx.qparams, ctx.bounds, ctx.dtype = qparams, bounds, x.dtype
        stored = fake_quantize_(exact.clone(), qparams, bounds)
        return stored.to(x.dtype) if qparams.qtype.bits <= 8 else stored

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (exact,) = ctx.saved_tensors
        stored = fake_quantize_(exact.clone(), ctx.qparams, ctx.bounds)
        error, gradient = stored - exact, gradients[0].float()
        is_clipped = error.abs() > ctx.qparams.tensor_scale / 2
        by_threshold = math.log(2) * (gradient * torch.where(is_clipped, stored, error)).sum()
        if ctx.bounds is not None:
            low, high = ctx.bounds
            is_clipped |= (exact <= low) | (exact >= high)
        return gradient.masked_fill(is_clipped, 0).to(ctx.dtype), by_threshold, None, None


def starting_thresholds(clip_exponents: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Where training sets out from: thresholds of formats that end there.

    Args:
        clip_exponents: log2 of the ends, whole numbers.

    >>> starting_thresholds(torch.tensor([2.0, -2.0]))
    tensor([ 1.5000, -2.5000])
    """
    return clip_exponents - MIDDLE


def learned_clip_exponents(thresholds: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log2 of the ends of formats that are learned, as whole numbers: thresholds are rounded up where they are used.

    Args:
        thresholds: log2 of the ends, as they are learned.

    >>> learned_clip_exponents(torch.tensor([1.5, -2.0]))
    tensor([ 2., -2.])
    """
    return thresholds.detach().ceil()


def learned_clips(thresholds: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Where formats that are learned end.

    Args:
        thresholds: log2 of the ends, as they are learned.

    >>> learned_clips(torch.tensor([1.5, -2.0]))
    tensor([4.0000, 0.2500])
    """
    return torch.exp2(learned_clip_exponents(thresholds))


def learned_through(
    x: Float[Tensor, "..."], threshold: Float[Tensor, ""], qparams: QParams, bounds: tuple[float, float] | None = None
) -> Float[Tensor, "..."]:
    """x in its format, with gradients to x and to the threshold: log2 of the format's end, before it is rounded up.

    Where x is clipped, it has no gradient, and the threshold that of the end; elsewhere x has a gradient of 1, and the
    threshold that of the rounding error (equations 7 and 8).

    Args:
        x: Any values.
        threshold: Learned.
        qparams: The per-tensor format that ends at 2^ceil(threshold).
        bounds: Of a ReLU-like activation that is merged in.

    >>> from qdiag.numerics.qtype import QType
    >>> x, threshold = torch.tensor([0.3, 9.0], requires_grad=True), torch.tensor(1.5, requires_grad=True)
    >>> y = learned_through(x, threshold, QParams(QType(4, signed=False), -2)); y.sum().backward()
    >>> y.detach(), x.grad, round(float(threshold.grad / math.log(2)), 4)
    (tensor([0.2500, 3.7500]), tensor([1., 0.]), 3.7)
    """
    result: Tensor = _Learned.apply(x, threshold, qparams, bounds)
    return result
