"""A training run of a session, in a folder that holds all it takes to go on with it."""

import copy
import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from qdiag.errors import InputError, OptionError
from qdiag.files import write_errors, writing
from qdiag.progress import Steps
from qdiag.quantization.modules import QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tensor_files import read_tensors, write_tensors
from qdiag.tracing.batches import batches
from qdiag.training.recipe import Recipe
from qdiag.workbench.version import Version
from qdiag.workbench.version_code import Change, trained

RUN, START = "run.json", "start.pt"
SUM = "sha256"  # in run.json, of all else in it
ADVICE = "Make room, or give folder=…"


class TrainingFolder:
    """run.json: recipe, options and origin. start.pt: the version that was trained from. All else is `train`'s own.

    Raises InputError for a folder that is none of these, and for one whose run.json is damaged.
    """

    def __init__(self, path: Path):
        self.path, self.name = path, path.name
        try:
            self.facts = _facts(json.loads((path / RUN).read_text()))
        except (OSError, ValueError) as error:
            raise InputError(
                f"'{path}' holds no training run of a session: {error}. Begin another one.", code="unreadable-file"
            ) from error
        self.parent: str = self.facts["parent"]
        self.change = Change(path.name, tuple(self.facts["code"]))

    @classmethod
    def new(cls, folder: Path, start: Version, recipe: Recipe, *, learn_thresholds: bool) -> "TrainingFolder":
        """The next free one, QAT-1, QAT-2 … Raises OptionError where it cannot be written."""
        if recipe.loss is not None:
            raise OptionError(
                "a loss of your own cannot be written to a file, to go on with later: use qdiag.train.",
                code="own-loss",
            )
        changed = {f.name: getattr(recipe, f.name) for f in fields(recipe) if getattr(recipe, f.name) != f.default}
        path = _free(folder)
        code = trained(path.name, changed, learn_thresholds=learn_thresholds).after(start.code).code
        facts = {"parent": start.name, "recipe": changed, "learn_thresholds": learn_thresholds, "code": code}
        with write_errors(path, ADVICE):
            path.mkdir(parents=True)
        write_tensors(path / START, start.quantized.state_dict(), ADVICE, is_state=True)
        with writing(path / RUN, ADVICE) as draft:
            draft.write_text(json.dumps(facts | {SUM: _sum_of(facts)}, indent=2))
        return cls(path)

    def steps(self, model: nn.Module, data: Any, images: Any) -> Steps[QuantizedModel]:
        """Train a copy of the model from where the run was left, or from its start."""
        from qdiag.training.train import train  # accelerate takes seconds to load, which a page need not wait for

        module = copy.deepcopy(model)
        start = QuantTestModule(module, batches(data, module).example)
        try:
            start.load_state_dict(read_tensors(self.path / START, "start of a training run"))
        except RuntimeError as error:  # torch's words for names and shapes that do not fit
            raise OptionError(f"{self.path} is a training run of another model: {error}", code="other-model") from error
        network = QuantTrainModule.from_calibrated(start.quantized, learn_thresholds=self.facts["learn_thresholds"])
        yield from train.steps(
            network,
            images,
            Recipe(**self.facts["recipe"]),
            teacher=model,
            output=self.path,
            resume=True,
            checkpoint_seconds=10,
        )
        return network.eval().quantized


def _facts(found: Any) -> dict[str, Any]:
    """Of what run.json holds. Raises ValueError where they are not what was written."""
    facts = {name: value for name, value in found.items() if name != SUM} if isinstance(found, dict) else {}
    if not facts or found.get(SUM) != _sum_of(facts):
        raise ValueError(f"{RUN} does not match its check sum")
    return facts


def _sum_of(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _free(folder: Path) -> Path:
    number = 1
    while (folder / f"QAT-{number}").exists():
        number += 1
    return folder / f"QAT-{number}"


def begun(folder: Path) -> list[str]:
    """Names of the runs in it, the latest first."""
    found = [path.parent for path in folder.glob(f"*/{RUN}")]
    return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]
