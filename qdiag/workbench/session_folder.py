"""What a session keeps on disk, so that it goes on after its kernel is gone."""

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import nn

from qdiag.comparison.output_error import OutputError
from qdiag.errors import InputError, OptionError
from qdiag.files import warned
from qdiag.quantization.identity import digest, model_digest
from qdiag.quantization.modules import QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.saved_state import reading_state
from qdiag.tensor_files import read_tensors, write_tensors
from qdiag.tracing.batches import batches
from qdiag.workbench.history import History
from qdiag.workbench.training_folder import begun
from qdiag.workbench.version import Version

SESSION = "session.pt"
CONTENTS = ("model", "data", "float_score", "applied", "modules", "versions")
WORDS = ("title", "note", "is_pinned")
"""Of a version, what older files do not hold."""
ADVICE = "Make room, or give folder=…"


@dataclass(frozen=True)
class Kept:
    """What a session keeps.

    data, float_score: the digest of the images, and the user's own figure of the float model, that the versions were
    measured with.
    """

    history: History
    data: str
    float_score: float | None


class SessionFolder:
    """One session's folder: session.pt has its versions, QAT-1, QAT-2 … are its training runs.

    session.pt is there whole or not at all, and is read as numbers and plain containers alone.
    is_saved: whether what was to be kept last could be written.
    """

    def __init__(self, root: Path, name: str = ""):
        self.root, self.name = root, name
        self.is_saved = False

    def make(self) -> Path:
        """The folder, made and named for the time where it was not yet. Raises OptionError where it cannot be made."""
        now, number = f"{datetime.now():%Y-%m-%d_%H-%M-%S}", 1
        while not self.name:
            name = now if number == 1 else f"{now}.{number}"
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                (self.root / name).mkdir()
                self.name = name
            except OSError as error:
                if not (self.root / name).is_dir():
                    raise OptionError(
                        f"cannot write to {self.root}: {error.strerror}. Give folder=…, or None to keep nothing.",
                        code="cannot-write",
                    ) from error
                number += 1  # another session has taken it
        return self.root / self.name

    def earlier(self, model: nn.Module) -> Iterator["SessionFolder"]:
        """The other sessions of this very model, weights included, the latest first."""
        current = model_digest(model)
        for path in sorted(self.root.glob(f"*/{SESSION}"), reverse=True):
            other = SessionFolder(self.root, path.parent.name)
            if other.name != self.name and other._read_or_nothing().get("model") == current:
                yield other

    def other(self, model: nn.Module, name: str) -> "SessionFolder":
        """One of `earlier`, by name or the latest. Raises OptionError where there is none."""
        found = next((one for one in self.earlier(model) if name in ("", one.name)), None)
        if found is None:
            raise OptionError(
                f"no earlier session {name!r} of this model, with these weights, in {self.root}.", code="no-session"
            )
        return found

    def unfinished(self, known: Collection[str]) -> list[str]:
        """Training runs in it that were stopped or killed, the latest first. known: versions that the session has."""
        return [name for name in begun(self.root / self.name) if name not in known] if self.name else []

    def contents(self) -> list[str]:
        """What it holds, in a few words each. Raises InputError for a file of another kind."""
        names = [str(version["name"]) for version in self._read(mapped=True)["versions"]]
        return names + [f"{name} (unfinished)" for name in self.unfinished(names)]

    def save(self, model: nn.Module, kept: "Kept") -> None:
        """Warns where it cannot be written; the session goes on, and the file before stays."""
        modules = [version.quantized.module for version in kept.history.values()]
        trained = list({id(module): module for module in modules if module is not model}.values())
        numbers = {id(module): number for number, module in enumerate(trained)}
        entries = [
            _state(version) | {"module": numbers.get(id(version.quantized.module))} for version in kept.history.values()
        ]
        state = {
            "model": model_digest(model),
            "data": kept.data,
            "float_score": kept.float_score,
            "applied": kept.history.applied,
            "modules": [module.state_dict() for module in trained],
            "versions": entries,
        }
        self.is_saved = False
        with warned("the session is not kept, and is lost with the kernel: "):
            write_tensors(self.make() / SESSION, state, ADVICE)
            self.is_saved = True

    def load(self, model: nn.Module, data: Any) -> Kept:
        """Of the model that it was saved for: see `earlier`. Raises InputError where it is not there, or damaged."""
        found = self._read()
        with reading_state():
            return self._kept(model, data, found)

    def _kept(self, model: nn.Module, data: Any, found: dict[str, Any]) -> Kept:
        modules = [_loaded(model, state) for state in found["modules"]]
        # one trace serves all: a trained copy has the model's own addresses
        own = QuantTestModule(model, batches(data, model).example).quantized
        versions = []
        for entry in found["versions"]:
            module = model if entry["module"] is None else modules[entry["module"]]
            quantized = QuantizedModel(module, own.plan, own.calibration, channels_last=entry["channels_last"])
            quantized.set_extra_state(entry["quantized"])
            measured = None if entry["output"] is None else OutputError.of_state(entry["output"])
            code = tuple(entry["code"])
            words = {name: entry[name] for name in WORDS if name in entry}
            versions.append(Version(entry["name"], entry["parent"], quantized, measured, entry["score"], code, **words))
        return Kept(History(versions, found["applied"]), found["data"], found["float_score"])

    @contextmanager
    def calibration(self, *facts: Any) -> Iterator[Path]:
        """A checkpoint for the calibration that these facts tell, gone at the end, when the session has what it made.

        It stays where the calibration was stopped, and where the session could not be written.
        """
        checkpoint = self.make() / f"calibration-{digest(list(facts))}.pt"
        yield checkpoint
        for done in checkpoint.parent.glob(f"{checkpoint.stem}*") if self.is_saved else ():
            done.unlink()

    def _read(self, *, mapped: bool = False) -> dict[str, Any]:
        """mapped: tensors stay in the file until they are looked at."""
        return read_tensors(self.root / self.name / SESSION, "session", CONTENTS, mapped=mapped)

    def _read_or_nothing(self) -> dict[str, Any]:
        try:
            return self._read(mapped=True)
        except InputError:
            return {}


def _state(version: Version) -> dict[str, Any]:
    """A version in plain containers of numbers and tensors, without its module."""
    return {
        "name": version.name,
        "parent": version.parent,
        "quantized": version.quantized.get_extra_state(),
        "channels_last": version.quantized.channels_last,
        "output": None if version.measured is None else version.measured.state(),
        "score": version.score,
        "code": list(version.code),
        "title": version.title,
        "note": version.note,
        "is_pinned": version.is_pinned,
    }


def _loaded(model: nn.Module, state: dict[str, Any]) -> nn.Module:
    module = copy.deepcopy(model)
    module.load_state_dict(state)
    return module
