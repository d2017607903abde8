"""Integers and truth values in several lanes: how many are float's."""

from collections.abc import Sequence

import torch
from torch import Tensor

MOST_VALUES = 1024
"""Distinct integers from 0 on up to which chance is taken off."""


class AgreementSums:
    """Counts of equal values over batches, and of each value on either side."""

    def __init__(self, lanes: int):
        self.count = 0
        self.equal = [0] * lanes
        self.reference = torch.zeros(MOST_VALUES, dtype=torch.float64)
        self.versions = [torch.zeros(MOST_VALUES, dtype=torch.float64) for _ in range(lanes)]

    def update(self, reference: Tensor, versions: Sequence[Tensor]) -> None:
        self.count += reference.numel()
        self.reference += _counts(reference)
        for lane, version in enumerate(versions):
            self.equal[lane] += int((version == reference).sum())
            self.versions[lane] += _counts(version)

    def percent(self, lane: int) -> float:
        return 100 * self.equal[lane] / self.count

    def kappa(self, lane: int) -> float:
        """Agreement beyond chance (Cohen, 1960): what is mostly False agrees mostly, also where every True is lost.

        1 for all equal, 0 for what two independent draws of such values would agree in.
        """
        observed = self.equal[lane] / self.count
        chance = float((self.reference * self.versions[lane]).sum()) / self.count**2
        if self.equal[lane] == self.count or chance >= 1:
            return 1.0 if self.equal[lane] == self.count else 0.0
        return (observed - chance) / (1 - chance)


def _counts(values: Tensor) -> Tensor:
    """How often each small value occurs; others are taken for all different."""
    flat = values.reshape(-1).long()
    small = flat[(flat >= 0) & (flat < MOST_VALUES)]
    return torch.bincount(small, minlength=MOST_VALUES).cpu().double()
