"""The range of each channel."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from qdiag.numerics.channels import shift_factor
from qdiag.numerics.ranges.range import Range


class ChannelMinMax:
    """Running minimum and maximum of each channel (axis 1)."""

    def __init__(self) -> None:
        self.extremes: Tensor | None = None  # [2, C]: low, -high

    def update(self, x: Float[Tensor, "..."]) -> None:
        if x.numel():
            x = x if x.ndim > 1 else x.reshape(-1, 1)
            others = [axis for axis in range(x.ndim) if axis != 1]
            low, high = x.amin(others), x.amax(others)
            seen = torch.stack([low, -high])
            self.extremes = seen if self.extremes is None else torch.minimum(self.extremes, seen)

    def shifted(self, shift: Shaped[Tensor, " c"]) -> Range:
        """The range of the whole tensor with each channel multiplied by 2^shift.

        Args:
            shift: Of each channel, whole numbers.

        >>> extremes = ChannelMinMax()
        >>> extremes.update(torch.tensor([[-1.0, 3.0]]))
        >>> extremes.shifted(torch.tensor([2, 0]))
        Range(low=-4.0, high=3.0)
        """
        if self.extremes is None:
            return Range(0.0, 0.0)
        low, high = (self.extremes * shift_factor(shift, self.extremes)).amin(1).tolist()
        return Range(low, -high + 0.0)
