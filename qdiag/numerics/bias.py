"""The bias as the target adds it: in the accumulator, at the accumulator's scale."""

from jaxtyping import Float
from torch import Tensor


def quantize_bias(
    bias: Float[Tensor, " c"], scale: float | Float[Tensor, " #c"], bits: int
) -> tuple[Float[Tensor, " c"], int]:
    """The bias rounded to multiples of the accumulator's scale s_in * s_w, and how many channels saturated.

    Args:
        bias: In the network's own unit.
        scale: The accumulator's; [C] where weights have a scale for each channel.
        bits: The accumulator's width.

    >>> import torch
    >>> quantize_bias(torch.tensor([0.3, 99.0]), scale=0.25, bits=8)
    (tensor([ 0.2500, 31.7500]), 1)
    """
    limit = 2.0 ** (bits - 1)
    codes = (bias.double() / scale).round()
    clamped = codes.clamp(-limit, limit - 1)
    return (clamped * scale).to(bias.dtype), int((codes != clamped).sum())
