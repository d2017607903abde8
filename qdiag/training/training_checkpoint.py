"""A training run in a folder: stopped or killed at any moment, it goes on to the same weights."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from torch import nn

from qdiag.errors import OptionError
from qdiag.files import remove_drafts, warned, writing
from qdiag.tensor_files import read_tensors, write_tensors
from qdiag.training.training_result import TrainingResult

CHECKPOINT, MODEL, TEACHER, HISTORY = "checkpoint.pt", "model.pt", "teacher.pt", "history.csv"
ADVICE = "Make room, and go on with resume=True."


class TrainingCheckpoint:
    """The files of one run, each there whole or not at all.

    checkpoint.pt: model, optimizer, schedule, position and history. No random state: every draw has a seed of its own.
    model.pt: the trained state_dict. teacher.pt: the float model as it was, where that is the teacher. history.csv.

    identity: facts of the run. A checkpoint goes on with the same ones only.
    Raises OptionError for a folder that cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Mapping[str, Any]):
        self.folder, self.identity = Path(folder), dict(identity)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise OptionError(
                f"cannot write to {self.folder}: {error.strerror}. Give another output folder.", code="cannot-write"
            ) from error

    @property
    def path(self) -> Path:
        return self.folder / CHECKPOINT

    def load(self, resume: bool) -> dict[str, Any] | None:
        """What was reached; None where nothing was. Raises OptionError for another run's, and for one not asked for."""
        if not self.path.exists():
            return None
        if not resume:
            raise OptionError(
                f"{self.folder} holds an earlier run. Go on with it (resume=True, --resume), or give another folder.",
                code="folder-taken",
            )
        found = read_tensors(self.path, "checkpoint of a training run", ("identity", "model", "epoch", "step"))
        identity = found["identity"]
        differing = [name for name, value in self.identity.items() if identity.get(name) != value]
        if differing:
            changes = "; ".join(f"{name} was {identity.get(name)}, is {self.identity[name]}" for name in differing)
            raise OptionError(
                f"{self.path} is the checkpoint of another run: {changes}. Give another folder.", code="other-run"
            )
        return found

    def save(self, state: Mapping[str, Any]) -> None:
        """Warns where it cannot be written; the run goes on, and the checkpoint before stays."""
        with warned():
            write_tensors(self.path, {"identity": self.identity} | dict(state), ADVICE)

    def save_history(self, result: TrainingResult) -> None:
        """Warns where it cannot be written."""
        if result.history:
            with warned(), writing(self.folder / HISTORY, ADVICE) as draft:
                result.to_pandas("epochs").to_csv(draft, index=False)

    def save_model(self, model: nn.Module) -> None:
        """Raises OptionError where it cannot be written."""
        write_tensors(self.folder / MODEL, model.state_dict(), ADVICE, is_state=True)

    def save_teacher(self, teacher: nn.Module) -> None:
        """Raises OptionError where it cannot be written."""
        write_tensors(self.folder / TEACHER, teacher.state_dict(), ADVICE, is_state=True)

    def load_teacher(self, teacher: nn.Module) -> None:
        teacher.load_state_dict(read_tensors(self.folder / TEACHER, "teacher of a training run"))

    def remove_drafts(self) -> None:
        for name in (CHECKPOINT, MODEL, TEACHER, HISTORY):
            remove_drafts(self.folder / name)
