"""The range of each channel."""

import torch
from jaxtyping import Shaped
from torch import Tensor

from qdiag.numerics.channels import shift_factor
from qdiag.numerics.ranges.range import Range


class ChannelMinMax:
    """Running minimum and maximum of each channel (axis 1)."""

    def __init__(self) -> None:
        self.extremes: Tensor | None = None  # [2, C]: low, -high

    def update(self, x: Tensor) -> None:
        if x.numel():
            rows = x.transpose(0, 1).flatten(1) if x.ndim > 1 else x.reshape(1, -1)
            low, high = rows.amin(1), rows.amax(1)
            seen = torch.stack([low, -high])
            self.extremes = seen if self.extremes is None else torch.minimum(self.extremes, seen)

    def shifted(self, shift: Shaped[Tensor, " c"]) -> Range:
        """The range of the whole tensor with each channel multiplied by 2^shift."""
        if self.extremes is None:
            return Range(0.0, 0.0)
        low, high = (self.extremes * shift_factor(shift, self.extremes)).amin(1).tolist()
        return Range(low, -high + 0.0)
