"""The bias as the target adds it: in the accumulator, at the accumulator's scale."""

from torch import Tensor


def quantize_bias(bias: Tensor, scale: float | Tensor, bits: int) -> tuple[Tensor, int]:
    """bias rounded to multiples of the accumulator's scale s_in * s_w, and how many channels saturated.

    scale: one number, or [C] for per-channel weights. bits: the accumulator's width.
    """
    limit = 2.0 ** (bits - 1)
    steps = (bias.double() / scale).round()
    clamped = steps.clamp(-limit, limit - 1)
    return (clamped * scale).to(bias.dtype), int((steps != clamped).sum())
