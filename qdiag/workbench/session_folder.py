"""What a session keeps on disk, so that it goes on after its kernel is gone."""

import copy
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.comparison.outputs import OutputError
from qdiag.errors import OptionError, QdiagWarning
from qdiag.files import written_whole
from qdiag.quantization.identity import model_digest
from qdiag.quantization.modules import QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import example
from qdiag.workbench.training_folder import unfinished
from qdiag.workbench.version import Version

SESSION = "session.pt"


@dataclass(frozen=True)
class Kept:
    """What was read back.

    data, float_score: the digest of the images, and the user's own figure of the float model, that the versions were
    measured with. applied: names, the last one is the version to go on with.
    """

    versions: tuple[Version, ...]
    applied: tuple[str, ...]
    data: str
    float_score: float | None


class SessionFolder:
    """One session's folder: session.pt has its versions, QAT-1, QAT-2 … are its training runs.

    session.pt is there whole or not at all, and is read as numbers and plain containers alone.
    """

    def __init__(self, root: Path, name: str = ""):
        self.root, self.name = root, name

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
                    text = f"cannot write to {self.root}: {error.strerror}. Give folder=…, or None to keep nothing."
                    raise OptionError(text) from error
                number += 1  # another session has taken it
        return self.root / self.name

    def earlier(self, model: nn.Module) -> Iterator["SessionFolder"]:
        """The other sessions of this very model, weights included, the latest first."""
        current = model_digest(model)
        for path in sorted(self.root.glob(f"*/{SESSION}"), reverse=True):
            other = SessionFolder(self.root, path.parent.name)
            if other.name != self.name and other._read_or_nothing().get("model") == current:
                yield other

    @property
    def unfinished(self) -> list[str]:
        """Training runs in it that were stopped or killed, the latest first."""
        return unfinished(self.root / self.name) if self.name else []

    def contents(self) -> list[str]:
        """What it holds, in a few words each. Raises OptionError for a file of another kind."""
        names = [str(version["name"]) for version in self._read(mapped=True)["versions"]]
        return names + [f"{name} (unfinished)" for name in self.unfinished]

    def save(
        self, model: nn.Module, data: str, versions: Collection[Version], applied: Sequence[str], score: float | None
    ) -> None:
        """Warns where it cannot be written; the session goes on, and the file before stays. See `Kept`."""
        modules = [version.quantized.module for version in versions]
        trained = list({id(module): module for module in modules if module is not model}.values())
        numbers = {id(module): number for number, module in enumerate(trained)}
        entries = [_state(version) | {"module": numbers.get(id(version.quantized.module))} for version in versions]
        state = {
            "model": model_digest(model),
            "data": data,
            "float_score": score,
            "applied": list(applied),
            "modules": [module.state_dict() for module in trained],
            "versions": entries,
        }
        try:
            with written_whole(self.make() / SESSION) as draft:
                torch.save(state, draft)
        except (OSError, RuntimeError, OptionError) as error:  # torch's writer gives a full disk as a RuntimeError
            text = f"the session is not kept, and is lost with the kernel: {error}"
            warnings.warn(text, QdiagWarning, stacklevel=2)

    def load(self, model: nn.Module, data: Any) -> Kept:
        """Of the model that it was saved for: see `earlier`. Raises OptionError where it is not there, or damaged."""
        found = self._read()
        modules = [_loaded(model, state) for state in found["modules"]]
        # one trace serves all: a trained copy has the model's own addresses
        own = QuantTestModule(model, example(data, model)).quantized
        versions = []
        for entry in found["versions"]:
            module = model if entry["module"] is None else modules[entry["module"]]
            quantized = QuantizedModel(module, own.plan, own.calibration, channels_last=entry["channels_last"])
            quantized.set_extra_state(entry["quantized"])
            output = OutputError(**entry["output"])
            code = tuple(entry["code"])
            versions.append(Version(entry["name"], entry["parent"], quantized, output, entry["score"], code))
        return Kept(tuple(versions), tuple(found["applied"]), found["data"], found["float_score"])

    def _read(self, *, mapped: bool = False) -> dict[str, Any]:
        """mapped: tensors stay in the file until they are looked at."""
        file = self.root / self.name / SESSION
        try:
            return dict(torch.load(file, map_location="cpu", weights_only=True, mmap=mapped))
        except Exception as error:  # torch, pickle and zip have errors of their own for a file of another kind
            raise OptionError(f"{self.root / self.name} holds no session: {error}.") from error

    def _read_or_nothing(self) -> dict[str, Any]:
        try:
            return self._read(mapped=True)
        except OptionError:
            return {}


def _state(version: Version) -> dict[str, Any]:
    """A version in plain containers of numbers and tensors, without its module."""
    return {
        "name": version.name,
        "parent": version.parent,
        "quantized": version.quantized.get_extra_state(),
        "channels_last": version.quantized.channels_last,
        "output": asdict(version.output),
        "score": version.score,
        "code": list(version.code),
    }


def _loaded(model: nn.Module, state: dict[str, Any]) -> nn.Module:
    module = copy.deepcopy(model)
    module.load_state_dict(state)
    return module
