"""PACT2: activations clipped at a power of two that follows what is seen in training."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.errors import InputError, OptionError
from qdiag.numerics.ranges.range import Range

CUT_OFF = 1e-4
"""Of the values, on each side: what is clipped."""
MOST_SEEN = 2**14
"""Values of a tensor that are looked at; of maps every so many rows and columns."""
SLOWEST = 0.001
"""The least weight of a new batch in the running extremes."""


def batch_extremes(x: Float[Tensor, "..."]) -> Float[Tensor, "2"]:
    """The least and the greatest value of a tensor, one in ten thousand cut off on each side.

    Args:
        x: Of maps, every so many rows and columns are looked at.

    >>> batch_extremes(torch.cat([torch.arange(20000.0), torch.tensor([1e9])]))
    tensor([2.0000e+00, 1.9998e+04])
    """
    values = _sample(x.detach())
    cut = 1 + int(CUT_OFF * len(values))
    low = values.topk(cut, largest=False).values[-1]
    return torch.stack([low, values.topk(cut).values[-1]]).float()


def follow(extremes: Float[Tensor, "2"], seen: Float[Tensor, "2"], batches: int) -> None:
    """Move running extremes, in place, towards those of a batch: the mean of the first thousand, then slowly.

    Args:
        extremes: The least and the greatest value so far.
        seen: Those of a batch.
        batches: How many were seen before.

    >>> extremes = torch.tensor([0.0, 2.0])
    >>> follow(extremes, torch.tensor([0.0, 4.0]), batches=1); extremes
    tensor([0., 3.])
    """
    extremes.lerp_(seen, max(1 / (batches + 1), SLOWEST))


def _sample(x: Tensor) -> Tensor:
    if x.ndim >= 4:
        every = max(1, math.isqrt(x.numel() // MOST_SEEN))
        return x[..., ::every, ::every].flatten()
    return x.flatten()[:: max(1, x.numel() // MOST_SEEN)]


class PACT2(nn.Module):
    """An activation function for networks that are to be quantized: a ReLU with an upper bound that is a power of two.

        self.act = PACT2()                            # in place of nn.ReLU
        self.act = PACT2(signed=True)                 # where values below zero count

    In train mode the range follows the tensor's extremes (of each batch, one in ten thousand cut off); it is rounded up
    to a power of two, so that float training already sees the clipping that 8 bits bring. `QuantTrainModule` does the
    same for every stored tensor of a model by itself, and quantizes: it needs no PACT2 in the model.

    Args:
        signed: Clip to [-2^k, 2^k] in place of [0, 2^k].
        most: An upper bound, as the 6 of a ReLU6.

    Raises:
        OptionError: For a bound that is not positive.

    >>> act = PACT2()
    >>> act(torch.tensor([-1.0, 0.3, 0.7])), act.clip
    (tensor([0.0000, 0.3000, 0.7000]), 1.0)
    """

    def __init__(self, signed: bool = False, most: float = math.inf):
        super().__init__()
        if not most > 0:
            raise OptionError(f"most={most}: the upper bound of an activation is positive.", code="option-value")
        self.signed, self.most = signed, most
        self.extremes: Tensor
        self.batches: Tensor
        self.register_buffer("extremes", torch.zeros(2))
        self.register_buffer("batches", torch.tensor(0))

    @property
    def clip(self) -> float:
        """The power of two in use, or the bound below it. Raises InputError where nothing was seen yet."""
        if int(self.batches) == 0:
            raise InputError(
                "this PACT2 has seen no batch yet: run the model in train mode first, or load its state.",
                code="no-ranges",
            )
        low, high = self.extremes.tolist()
        return min(self.most, Range(low if self.signed else 0.0, max(high, 0.0)).clip)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """x clipped; in train mode the range follows it first.

        Args:
            x: Of any shape.
        """
        if self.training:
            with torch.no_grad():
                follow(self.extremes, batch_extremes(x), int(self.batches))
                self.batches += 1
        return F.hardtanh(x, -self.clip if self.signed else 0.0, self.clip)

    def extra_repr(self) -> str:
        return f"signed={self.signed}, most={self.most}"
