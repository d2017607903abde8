"""What a convolution multiplies its weight with, at some of its output's positions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def patches(
    x: Float[Tensor, "n c ..."],
    positions: Int[Tensor, "rows d_1"],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Float[Tensor, "rows c ..."]:
    """The inputs [rows, C, *kernel] of a convolution.

    Args:
        x: Images or feature maps, of d spatial axes.
        positions: Of each row the image, and the position in the output along each spatial axis.
        kernel: Its length along each spatial axis.
        stride: Along each spatial axis.
        padding: Before and behind, along each spatial axis.
        dilation: Along each spatial axis.

    >>> image = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> patches(image, torch.tensor([[0, 1, 0]]), (2, 2), (1, 1), [(0, 0), (0, 0)], (1, 1)).flatten()
    tensor([3., 4., 6., 7.])
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

    Args:
        padding: As torch takes it.
        kernel: Its length along each spatial axis.
        dilation: Along each spatial axis.

    >>> convolution_padding("same", (3, 4), (1, 1)), convolution_padding(2, (5, 5), (1, 1))
    ([(1, 1), (1, 2)], [(2, 2), (2, 2)])
    """
    if not isinstance(padding, str):
        return [(amount, amount) for amount in each(padding, len(kernel))]
    totals = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number for each axis, as torch reads an option.

    Args:
        value: As torch takes it.
        axes: How many there are.

    >>> each(2, 3), each((1, 2), 2), each([3], 2)
    ((2, 2, 2), (1, 2), (3, 3))
    """
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values
