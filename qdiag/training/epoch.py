"""One epoch of a training run, in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Epoch:
    """One epoch. learning_rate: at its end. loss, right_percent: over its images, while they were trained with.

    validation: metrics of the model as it is at the end of the epoch; of a QuantTrainModule in fixed point.
    """

    number: int
    learning_rate: float
    loss: float
    right_percent: float | None
    validation: Metrics

    def values(self) -> dict[str, float]:
        """All of its numbers, by name."""
        right = {} if self.right_percent is None else {"train_right_percent": self.right_percent}
        return {"loss": self.loss, "learning_rate": self.learning_rate, **right, **self.validation}
