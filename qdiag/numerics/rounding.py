"""How a value between two integers is rounded: with power-of-two scales ties are common, so it shows."""

import enum

from jaxtyping import Float
from torch import Tensor


class Rounding(enum.Enum):
    """HALF_UP adds one half and shifts right, as the target does; HALF_EVEN is IEEE's and ONNX Runtime's."""

    HALF_UP = "half-up"
    HALF_EVEN = "half-even"

    def __call__(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return x.add(0.5).floor() if self is Rounding.HALF_UP else x.round()

    def apply_(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The same in x's own memory.

        Args:
            x: Overwritten, and returned.

        >>> import torch
        >>> Rounding.HALF_EVEN.apply_(torch.tensor([0.5, 1.5])), Rounding.HALF_UP.apply_(torch.tensor([0.5, 1.5]))
        (tensor([0., 2.]), tensor([1., 2.]))
        """
        return x.add_(0.5).floor_() if self is Rounding.HALF_UP else x.round_()
