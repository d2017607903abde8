"""A training run in a folder: stopped or killed at any moment, it goes on to the same weights."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch
from torch import nn

from qdiag.errors import OptionError, QdiagWarning
from qdiag.files import remove_drafts, written_whole
from qdiag.training.training_result import TrainingResult

CHECKPOINT, MODEL, TEACHER, HISTORY = "checkpoint.pt", "model.pt", "teacher.pt", "history.csv"


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
                f"cannot write to {self.folder}: {error.strerror}. Give another output folder."
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
                f"{self.folder} holds an earlier run. Go on with it (resume=True, --resume), or give another folder."
            )
        found = _read(self.path)
        identity = found.get("identity", {})
        differing = [name for name, value in self.identity.items() if identity.get(name) != value]
        if differing:
            changes = "; ".join(f"{name} was {identity.get(name)}, is {self.identity[name]}" for name in differing)
            raise OptionError(f"{self.path} is the checkpoint of another run: {changes}. Give another folder.")
        return found

    def save(self, state: Mapping[str, Any]) -> None:
        """Warns where it cannot be written; the run goes on, and the checkpoint before stays."""
        with _warned():
            self._write(CHECKPOINT, {"identity": self.identity} | dict(state))

    def save_history(self, result: TrainingResult) -> None:
        """Warns where it cannot be written."""
        if result.history:
            with _warned():
                self._write(HISTORY, result)

    def save_model(self, model: nn.Module) -> None:
        """Raises OptionError where it cannot be written."""
        self._write(MODEL, model.state_dict())

    def save_teacher(self, teacher: nn.Module) -> None:
        """Raises OptionError where it cannot be written."""
        self._write(TEACHER, teacher.state_dict())

    def load_teacher(self, teacher: nn.Module) -> None:
        teacher.load_state_dict(_read(self.folder / TEACHER))

    def remove_drafts(self) -> None:
        for name in (CHECKPOINT, MODEL, TEACHER, HISTORY):
            remove_drafts(self.folder / name)

    def _write(self, name: str, contents: Any) -> None:
        path = self.folder / name
        try:
            with written_whole(path) as draft:
                if isinstance(contents, TrainingResult):
                    contents.to_pandas("epochs").to_csv(draft, index=False)
                else:
                    torch.save(contents, draft)
        except (OSError, RuntimeError) as error:  # torch's writer gives a full disk as a RuntimeError
            raise OptionError(f"{path} was not written: {error}. Make room, and go on with resume=True.") from error


@contextmanager
def _warned() -> Iterator[None]:
    """The run goes on: what is written a minute later may find room."""
    try:
        yield
    except OptionError as error:
        warnings.warn(str(error), QdiagWarning, stacklevel=2)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # torch, pickle and zip have errors of their own for a file of another kind
        raise OptionError(f"{path} is no checkpoint of a training run. Give another folder, or delete it.") from error
