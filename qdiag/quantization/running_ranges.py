"""The extremes of every stored tensor, followed through training."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.numerics.pact2 import batch_extremes, follow
from qdiag.numerics.ranges.range import Range
from qdiag.quantization.calibration import Calibration
from qdiag.tracing.site import Site


class RunningRanges(nn.Module):
    """For each site the running extremes of PACT2, at the scale that the tensor is stored at.

    Buffers, so that they lie on the model's device and processes that train together share them; who holds them saves
    them, by address.
    """

    def __init__(self, sites: Sequence[Site]):
        super().__init__()
        self.rows = {site: row for row, site in enumerate(sites)}
        self.extremes: Tensor
        self.batches: Tensor
        self.register_buffer("extremes", torch.zeros(len(sites), 2), persistent=False)
        self.register_buffer("batches", torch.zeros(len(sites), dtype=torch.int64), persistent=False)

    def counts(self) -> dict[Site, int]:
        """Batches seen at each site that was seen at all."""
        counts = self.batches.tolist()
        return {site: counts[row] for site, row in self.rows.items() if counts[row]}

    def found(self) -> dict[Site, Range]:
        """Of every site seen so far. Raises ModelError where a tensor became NaN or infinite."""
        extremes = self.extremes.tolist()
        found = {site: Range(*extremes[self.rows[site]]) for site in self.counts()}
        broken = next((site for site, known in found.items() if not known.is_finite), None)
        if broken is not None:
            raise ModelError(
                f"{str(broken)!r} became NaN or infinite in training. Go back to the last checkpoint, and lower the "
                "learning rate, or clip gradients.",
                code="training-diverged",
            )
        return found

    def updated(self, calibration: Calibration) -> Calibration:
        """With the ranges found so far; the same object where it has them already."""
        found = self.found()
        if all(calibration.ranges.get(site) == one for site, one in found.items()):
            return calibration
        return calibration.change(ranges=found, seen=found)

    @torch.no_grad()
    def see(self, site: Site, tensor: Tensor, batches: int, bounds: tuple[float, float] | None) -> Tensor:
        """Follow a tensor after so many batches before it; gives its extremes [2] inside an activation's bounds."""
        row, seen = self.rows[site], batch_extremes(tensor).to(self.extremes)
        if bounds is not None:
            seen = seen.clamp(*bounds)
        follow(self.extremes[row], seen, batches)
        self.batches[row] += 1
        return seen

    @torch.no_grad()
    def join(self) -> None:
        """Take the widest of what the processes that train together have seen; each of them calls it."""
        ends = torch.stack([-self.extremes[:, 0], self.extremes[:, 1]])
        torch.distributed.all_reduce(ends, torch.distributed.ReduceOp.MAX)
        self.extremes.copy_(torch.stack([-ends[0], ends[1]], 1))

    def put(self, site: Site, known: Range, batches: int) -> None:
        """Take a range from elsewhere, as if seen in so many batches."""
        self.extremes[self.rows[site]] = torch.tensor([known.low, known.high])
        self.batches[self.rows[site]] = batches
