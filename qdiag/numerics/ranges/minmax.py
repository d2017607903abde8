"""The range that clips nothing."""

import torch
from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.memory_order import in_memory_order
from qdiag.numerics.ranges.range import Range


class MinMax:
    """Running minimum and maximum over everything seen: no value is clipped, one outlier sets the scale.

    >>> estimator = MinMax()
    >>> estimator.update(torch.tensor([-1.0, 3.0])); estimator.update(torch.tensor([2.0]))
    >>> estimator.range()
    Range(low=-1.0, high=3.0)
    """

    def __init__(self) -> None:
        self.extremes: Tensor | None = None  # [low, -high] on the tensor's device, so that no step waits for it

    def update(self, x: Float[Tensor, "..."]) -> None:
        if not x.numel():
            return
        low, high = torch.aminmax(in_memory_order(x))
        seen = torch.stack([low, -high])
        self.extremes = seen if self.extremes is None else torch.minimum(self.extremes, seen)

    def range(self) -> Range:
        if self.extremes is None:
            return Range(0.0, 0.0)
        low, high = self.extremes.tolist()
        return Range(low, -high + 0.0)
