"""Values in the order in which they lie in memory, which reductions run through many times faster."""

from jaxtyping import Shaped
from torch import Tensor


def memory_order(x: Shaped[Tensor, "..."]) -> list[int]:
    """The axes, the slowest first.

    Args:
        x: In any layout.

    >>> import torch
    >>> memory_order(torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last))
    [0, 2, 3, 1]
    """
    return sorted(range(x.ndim), key=x.stride, reverse=True)


def in_memory_order(x: Shaped[Tensor, "..."]) -> Shaped[Tensor, " values"]:
    """All values in one row; no copy where they lie densely.

    Args:
        x: In any layout.

    >>> import torch
    >>> in_memory_order(torch.tensor([[1, 2], [3, 4]]).T)
    tensor([1, 2, 3, 4])
    """
    return x.permute(memory_order(x)).reshape(-1)
