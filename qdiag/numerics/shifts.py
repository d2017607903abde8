"""Channels that the target stores multiplied by powers of two: the factors that say so in the user's own scale."""

import torch
from torch import Tensor

from qdiag.numerics.channels import by_channel, shift_factor


def channel_factor(shift: Tensor, like: Tensor) -> Tensor:
    """What each channel [C] of a tensor [N, C, ...] is multiplied by, to broadcast against it.

    >>> channel_factor(torch.tensor([0, 3]), torch.zeros(4, 2, 5, 5)).flatten()
    tensor([1., 8.])
    """
    return by_channel(shift_factor(shift, like), like, 1)


def weight_factor(weight: Tensor, written: Tensor | None, read: Tensor | None, groups: int) -> Tensor:
    """What a weight [C, C_in/groups, ...] is multiplied by, so that it takes shifted channels and gives shifted ones.

    written: the shift of each channel that the layer writes [C]; read: of each that it reads [C_in]; None for none.

    >>> weight_factor(torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([0, 0, 2]), groups=1)
    tensor([[1.0000, 1.0000, 0.2500],
            [2.0000, 2.0000, 0.5000]])
    """
    factor = torch.ones_like(weight[:1, :1])
    if written is not None:
        factor = factor * by_channel(shift_factor(written, weight), weight, 0)
    if read is not None:
        by_group = read.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1).flatten(0, 1)
        factor = factor / by_channel(shift_factor(by_group, weight), weight, 1)
    return factor


def as_shift(magnitude: Tensor) -> Tensor:
    """A magnitude in the unit of shifts, one of which doubles it: log2, of each element.

    >>> as_shift(torch.tensor([0.0, 0.25, 6.0]))
    tensor([  -inf, -2.0000,  2.5850])
    """
    return magnitude.log2()


def power_cut_off(magnitudes: Tensor, clip: float, most: int) -> Tensor:
    """What shifts of 1 to `most` cost each channel [most, C], where its values are cut off at `clip` after them.

    magnitudes: of each channel's values [C, values]. The cost is the sum of squares of what is cut off, unshifted.

    >>> power_cut_off(torch.tensor([[1.0, 5.0], [0.5, 0.5]]), clip=4.0, most=2)
    tensor([[ 9.,  0.],
            [16.,  0.]])
    """
    over = [(magnitudes - clip / 2.0**shift).clamp_(min=0).square().sum(1) for shift in range(1, most + 1)]
    return torch.stack(over)


def bias_factor(shift: Tensor | None, bias: Tensor) -> Tensor:
    """What each channel [C] of a bias is multiplied by."""
    return torch.ones_like(bias) if shift is None else shift_factor(shift, bias)
