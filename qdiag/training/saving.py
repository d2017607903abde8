"""What of a training run is written to its folder, and when."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from qdiag.training.epoch import Metrics
from qdiag.training.setup import Setup
from qdiag.training.training_checkpoint import TrainingCheckpoint
from qdiag.training.training_result import TrainingResult
from qdiag.training.training_run import TrainingRun


def opened(
    setup: Setup, output: str | os.PathLike[str] | None, *, resume: bool
) -> tuple[TrainingCheckpoint | None, Mapping[str, Any] | None]:
    """The output folder, and the state to go on from; None for what there is none of.

    A run to go on with brings the teacher that it had. Of several processes the first one alone has a folder to write.

    Raises OptionError where the folder cannot be written, or holds another run.
    """
    folder = None if output is None else TrainingCheckpoint(output, setup.identity)
    reached = None if folder is None else folder.load(resume)
    if folder is not None and reached is not None and setup.own_teacher and setup.objective.teacher is not None:
        folder.load_teacher(setup.objective.teacher)
    setup.accelerator.wait_for_everyone()  # all have looked, before the first one writes
    return folder if setup.accelerator.is_main_process else None, reached


@dataclass
class Saving:
    """When what is written.

    folder: None where nothing is. before: metrics at the beginning of the run, which its result holds. seconds: between
    two checkpoints.
    """

    folder: TrainingCheckpoint | None
    training: TrainingRun
    before: Mapping[str, Metrics]
    seconds: float
    saved_at: float = field(default_factory=monotonic)

    def begin(self, *, anew: bool) -> None:
        """anew: this is no run that is gone on with."""
        teacher = self.training.objective.teacher
        if self.folder is not None:
            self.folder.remove_drafts()
            if anew and self.training.setup.own_teacher and teacher is not None:
                self.folder.save_teacher(teacher)
        self.now()

    def when_due(self) -> None:
        """A checkpoint every so many seconds."""
        if monotonic() - self.saved_at >= self.seconds:
            self.now()

    def now(self) -> None:
        """A checkpoint, and the history so far."""
        state = self.training.state()
        if self.folder is not None:
            self.folder.save(state | {"before": dict(self.before)})
            self.folder.save_history(self.training.result(self.before, {}))
        self.saved_at = monotonic()

    def end(self, result: TrainingResult) -> None:
        """The trained weights, and the whole history."""
        if self.folder is not None:
            self.folder.save_history(result)
            self.folder.save_model(self.training.model)
