"""Running sums from which every metric of two tensors follows, so that data can be streamed."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.memory_order import memory_order


@dataclass(frozen=True)
class Moments:
    """Sums over all values of a reference r and the error e = test - r.

    Attributes:
        count: Values.
        ref2: The sum of r^2.
        err2: The sum of e^2.
        cross: The sum of r e.
        ref: The sum of r.
        err: The sum of e.
        max_error: The greatest |e|.
        low: The least r at the scale of the test's format.
        high: The greatest r at the scale of the test's format.
        clipped: Values of r outside that format's ends.
    """

    count: int
    ref2: float
    err2: float
    cross: float
    ref: float
    err: float
    max_error: float
    low: float
    high: float
    clipped: int


class ReferenceSums:
    """The sums that depend on the reference alone: taken once, shared by every lane."""

    def __init__(self, ref: Float[Tensor, "..."]):
        self.order = memory_order(ref)
        self.flat = self.flatten(ref)
        self.low, self.high = (t.double() for t in torch.aminmax(self.flat))
        self.sums = torch.stack([torch.dot(self.flat, self.flat), self.flat.sum()]).double()

    def flatten(self, x: Float[Tensor, "..."]) -> Float[Tensor, " values"]:
        """All values in one row in the order of the reference's memory: no copy where x is dense and laid out alike.

        Args:
            x: Of the reference's shape.
        """
        return x.permute(self.order).reshape(-1)


class MomentSums:
    """Accumulates `Moments` over batches, on the tensors' device, in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | None = None
        self.peaks: Tensor | None = None
        self.clipped: int | Tensor = 0

    def update(
        self,
        ref: ReferenceSums,
        test: Float[Tensor, "..."],
        limits: tuple[float, float] | None,
        stored: ReferenceSums | None = None,
    ) -> None:
        """Fold one batch in.

        Args:
            ref: The reference on this batch.
            test: What is compared with it.
            limits: The least and the greatest value of the test's format; None counts no clipping.
            stored: The reference as that format holds it, where it holds it at another scale.

        >>> sums = MomentSums()
        >>> sums.update(ReferenceSums(torch.tensor([1.0, 4.0])), torch.tensor([1.0, 3.0]), limits=(0.0, 3.0))
        >>> sums.moments().err2, sums.moments().clipped
        (1.0, 1)
        """
        stored = stored or ref
        error = ref.flatten(test) - ref.flat
        least, most = torch.aminmax(error)
        own = torch.stack([torch.dot(error, error), torch.dot(ref.flat, error), error.sum()]).double()
        sums = torch.cat([ref.sums, own])
        peaks = torch.stack([torch.maximum(-least, most).double(), -stored.low, stored.high])
        self.sums = sums if self.sums is None else self.sums + sums
        self.peaks = peaks if self.peaks is None else torch.maximum(self.peaks, peaks)
        self.count += error.numel()
        if limits is not None and (float(stored.low) < limits[0] or float(stored.high) > limits[1]):
            self.clipped = self.clipped + int(((stored.flat < limits[0]) | (stored.flat > limits[1])).sum())

    def moments(self) -> Moments:
        """Of all batches so far."""
        if self.sums is None or self.peaks is None:
            return Moments(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
        ref2, ref, err2, cross, err = self.sums.tolist()
        peak, low, high = self.peaks.tolist()
        return Moments(self.count, ref2, err2, cross, ref, err, peak, -low, high, int(self.clipped))


def signal_and_noise(reference: Float[Tensor, "..."], test: Float[Tensor, "..."]) -> Float[Tensor, "2"]:
    """Sums of squares of the reference and of the error, in double precision: what an SQNR is made of.

    Args:
        reference: In float.
        test: What is compared with it.

    >>> signal_and_noise(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0]))
    tensor([25.,  1.], dtype=torch.float64)
    """
    return torch.stack([reference.square().sum(), (test - reference).square().sum()]).double()
