"""What training came to."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report, Text
from qdiag.training.epoch import Epoch, Metrics
from qdiag.training.training_result_parts import accuracy_chart, epoch_table, loss_chart, training_facts, version_table


@dataclass(frozen=True)
class TrainingResult(Displayable):
    """The run's curve, and metrics in float and fixed point before and after.

    Attributes:
        model_name: The model's class.
        recipe: Every field of it.
        images: In one epoch.
        history: By epoch.
        before: Metrics by version, of the weights at the beginning; empty without validation data.
        after: The same at the end.
        kept_epoch: Whose weights the model has at the end; 0 for those at the beginning.
    """

    model_name: str
    recipe: Mapping[str, Any]
    images: int
    history: tuple[Epoch, ...]
    before: Mapping[str, Metrics]
    after: Mapping[str, Metrics]
    kept_epoch: int

    def report(self) -> Report:
        """Figures at the end, metrics before and after, and the curves by epoch."""
        blocks: list[Block | None] = [
            training_facts(self.history, self.images, self.kept_epoch),
            version_table(self.before, self.after) if self.after else Text("No validation data: nothing measured."),
        ]
        if self.history:
            blocks += [loss_chart(self.history), accuracy_chart(self.history), epoch_table(self.history)]
        shown = tuple(block for block in blocks if block is not None)
        return Report(f"Training of {self.model_name}", shown, "training", self._data())

    def _data(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "recipe": dict(self.recipe),
            "history": [asdict(epoch) for epoch in self.history],
            "before": self.before,
            "after": self.after,
            "kept_epoch": self.kept_epoch,
        }
