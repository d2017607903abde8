"""Loss and accuracy of an epoch under way."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.training.objective import Outcome

LOOKING_SECONDS = 0.5
"""Reading a number waits for the accelerator to compute it; on the CPU it is there already."""


@dataclass
class Sums:
    """Over the steps of an epoch so far. loss: of batches of one size. right of decided: see `Outcome`."""

    steps: int = 0
    loss: float = 0.0
    right: int = 0
    decided: int = 0

    @property
    def mean_loss(self) -> float:
        return self.loss / self.steps

    @property
    def right_percent(self) -> float | None:
        return 100 * self.right / self.decided if self.decided else None


class Curve:
    """Takes every step's outcome, and reads it seldom enough that no step waits."""

    def __init__(self, known: dict[str, Any] | None = None):
        self.sums = Sums(**(known or {}))
        self._unread: list[Outcome] = []
        self._looked = monotonic()

    def add(self, outcome: Outcome) -> None:
        self._unread.append(Outcome(outcome.loss.detach(), outcome.right, outcome.decided))
        if outcome.loss.device.type == "cpu" or monotonic() - self._looked > LOOKING_SECONDS:
            self.read()

    def read(self) -> Sums:
        """All steps so far. Raises ModelError with the first whose loss is not finite."""
        unread, self._unread, self._looked = self._unread, [], monotonic()
        if unread:
            losses = torch.stack([outcome.loss for outcome in unread]).tolist()
            for loss in losses:
                self.sums.steps += 1
                if not math.isfinite(loss):
                    raise ModelError(
                        f"the loss became {loss} in step {self.sums.steps} of the epoch, and no checkpoint was written "
                        "since. Begin anew with a lower learning rate, or clip gradients: Recipe(clip_norm=1.0).",
                        code="training-diverged",
                    )
                self.sums.loss += loss
            self.sums.right += _sum(outcome.right for outcome in unread)
            self.sums.decided += _sum(outcome.decided for outcome in unread)
        return self.sums

    def values(self) -> dict[str, float]:
        """What a bar shows: as last read."""
        if not self.sums.steps:
            return {}
        right = self.sums.right_percent
        return {"loss": self.sums.mean_loss} | ({} if right is None else {"right_percent": right})

    def state(self) -> dict[str, Any]:
        return asdict(self.read())


def _sum(counts: Iterable[Tensor | None]) -> int:
    known = [count for count in counts if count is not None]
    return int(torch.stack(known).sum()) if known else 0
