"""Values for each channel, beside a tensor that has these channels along one of its axes."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

DEAD = 2.0**-16
"""A channel under this part of its tensor's largest is 0 even in 16 bits, whatever float says."""


def by_channel(values: Shaped[Tensor, "... c"], like: Tensor, axis: int) -> Shaped[Tensor, "..."]:
    """values, shaped to broadcast against `like`, whose channels lie along `axis`.

    Args:
        values: [C], or with the axes before it as well, such as [C_out, C_in] against a weight's axis 1.
        like: What they are to be multiplied with.
        axis: Where the channels lie.

    >>> by_channel(torch.ones(3), torch.zeros(2, 3, 8, 8), axis=1).shape
    torch.Size([3, 1, 1])
    """
    return values.reshape(*values.shape, *[1] * (like.ndim - 1 - axis))


def shift_factor(shift: Shaped[Tensor, "*shape"], like: Tensor) -> Float[Tensor, "*shape"]:
    """What the target multiplies channels by: 2^shift, of the type and on the device of `like`.

    Args:
        shift: Whole numbers.
        like: What is to be multiplied.

    >>> shift_factor(torch.tensor([-1, 0, 2]), torch.zeros(()))
    tensor([0.5000, 1.0000, 4.0000])
    """
    return torch.exp2(shift.to(like))
