"""What a convolution multiplies its weight with, at some of its output's positions."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def patches(
    x: Tensor,
    positions: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Tensor:
    """The inputs [rows, C, *kernel] of a convolution.

    x: [N, C, *spatial]. positions: [rows, 1 + d], the image and the position in the output. kernel, stride, padding
    (before and behind) and dilation: for each of d axes.
    """
    behind_first = [amount for before_behind in reversed(padding) for amount in before_behind]
    last = F.pad(x, behind_first).movedim(1, -1)  # channels last, where an index takes all of a position at once
    dims = len(kernel)
    index = [positions[:, 0].reshape(-1, *[1] * dims)]
    for axis in range(dims):
        start = positions[:, 1 + axis].reshape(-1, *[1] * dims) * stride[axis]
        offset = torch.arange(kernel[axis], device=x.device) * dilation[axis]
        index.append(start + offset.reshape([-1 if a == axis else 1 for a in range(dims)]))
    return last[tuple(index)].movedim(-1, 1)


def convolution_padding(
    padding: int | str | Sequence[int], kernel: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """What torch's `padding` argument, also "same" and "valid", adds before and behind each axis.

    >>> convolution_padding("same", (3, 4), (1, 1)), convolution_padding(2, (5, 5), (1, 1))
    ([(1, 1), (1, 2)], [(2, 2), (2, 2)])
    """
    if not isinstance(padding, str):
        return [(amount, amount) for amount in each(padding, len(kernel))]
    totals = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number for each axis, as torch reads an option.

    >>> each(2, 3), each((1, 2), 2), each([3], 2)
    ((2, 2, 2), (1, 2), (3, 3))
    """
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values
