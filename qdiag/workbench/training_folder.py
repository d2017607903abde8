"""A training run of a session, in a folder that holds all it takes to go on with it."""

import copy
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.errors import OptionError
from qdiag.files import written_whole
from qdiag.progress import Steps
from qdiag.quantization.modules import QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tracing.inputs import example
from qdiag.training.recipe import Recipe
from qdiag.training.training_checkpoint import MODEL
from qdiag.workbench.version import Version

RUN, START = "run.json", "start.pt"


class TrainingFolder:
    """run.json: recipe, options and origin. start.pt: the version that was trained from. All else is `train`'s own.

    Raises OptionError for a folder that is none of these.
    """

    def __init__(self, path: Path):
        self.path, self.name = path, path.name
        try:
            self.facts: dict[str, Any] = json.loads((path / RUN).read_text())
        except (OSError, ValueError) as error:
            raise OptionError(f"{path} holds no training run of a session: {error}.") from error
        self.parent: str = self.facts["parent"]
        self.code: tuple[str, ...] = tuple(self.facts["code"])

    @classmethod
    def new(cls, folder: Path, start: Version, recipe: Recipe, *, learn_thresholds: bool) -> "TrainingFolder":
        """The next free one, QAT-1, QAT-2 … Raises OptionError where it cannot be written."""
        if recipe.loss is not None:
            raise OptionError("a loss of your own cannot be written to a file, to go on with later: use qdiag.train.")
        number = 1
        while (folder / f"QAT-{number}").exists():
            number += 1
        path = folder / f"QAT-{number}"
        changed = {f.name: getattr(recipe, f.name) for f in fields(recipe) if getattr(recipe, f.name) != f.default}
        words = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        options = ", learn_thresholds=True" if learn_thresholds else ""
        code = [
            *start.code,
            "teacher = copy.deepcopy(model)",
            f"trained = QuantTrainModule.from_calibrated(qm{options})",
            f"train(trained, training, Recipe({words}), teacher=teacher)",
            "qm = trained.eval().quantized",
        ]
        facts = {"parent": start.name, "recipe": changed, "learn_thresholds": learn_thresholds, "code": code}
        try:
            path.mkdir(parents=True)
            with written_whole(path / START) as draft:
                torch.save(start.quantized.state_dict(), draft)
            with written_whole(path / RUN) as draft:
                draft.write_text(json.dumps(facts, indent=2))
        except (OSError, RuntimeError) as error:  # torch's writer gives a full disk as a RuntimeError
            raise OptionError(f"cannot write the training run to {path}: {error}. Give folder=…") from error
        return cls(path)

    def steps(self, model: nn.Module, data: Any, images: Any) -> Steps[QuantizedModel]:
        """Train a copy of the model from where the run was left, or from its start."""
        from qdiag.training.train import train_steps  # accelerate takes seconds to load, which a page need not wait for

        module = copy.deepcopy(model)
        start = QuantTestModule(module, example(data, module))
        try:
            start.load_state_dict(torch.load(self.path / START, map_location="cpu", weights_only=True))
        except RuntimeError as error:  # torch's words for names and shapes that do not fit, or a file of another kind
            raise OptionError(f"{self.path} is a training run of another model: {error}") from error
        trained = QuantTrainModule.from_calibrated(start.quantized, learn_thresholds=self.facts["learn_thresholds"])
        yield from train_steps(
            trained,
            images,
            Recipe(**self.facts["recipe"]),
            teacher=model,
            output=self.path,
            resume=True,
            checkpoint_seconds=10,
        )
        return trained.eval().quantized


def unfinished(folder: Path) -> list[str]:
    """Names of runs that were begun and did not end, the latest first."""
    begun = [path.parent for path in folder.glob(f"*/{RUN}") if not (path.parent / MODEL).exists()]
    return [path.name for path in sorted(begun, key=lambda path: path.stat().st_mtime, reverse=True)]
