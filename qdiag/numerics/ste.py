"""Rounding that gradients pass straight through (arXiv:1308.3432), inside the format's ends."""

from typing import Any

import torch
from torch import Tensor

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


def round_through(x: Tensor, rounding: Rounding, low: float, high: float) -> Tensor:
    """x rounded to whole numbers and clamped to [low, high]; the gradient is 1 inside and 0 outside.

    >>> x = torch.tensor([0.4, 0.6, 9.0], requires_grad=True)
    >>> y = round_through(x, Rounding.HALF_UP, 0, 3); y.sum().backward(); y.detach(), x.grad
    (tensor([0., 1., 3.]), tensor([1., 1., 0.]))
    """
    result: Tensor = _Round.apply(x, rounding, low, high)
    return result
