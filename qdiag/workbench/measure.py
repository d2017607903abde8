"""What every version of a session is measured with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from qdiag.comparison.compare import comparison_steps, measured_steps
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.labels import Task
from qdiag.comparison.output_error import OutputError
from qdiag.progress import Steps
from qdiag.quantization.identity import data_digest
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.workbench.history import History
from qdiag.workbench.version import Version


@dataclass
class Measure:
    """The float model, the images, and the user's own figure of a model.

    task: what the outputs mean; None for what the labels say. float_score: the float model's own figure, once it was
    asked for.
    """

    model: nn.Module
    data: Any
    evaluate: Callable[[nn.Module], float] | None
    task: Task | None = None
    float_score: float | None = None

    @property
    def labels_decide(self) -> bool:
        """False where the user's own figure does."""
        return self.evaluate is None

    @cached_property
    def images(self) -> str:
        """A digest of the data."""
        return data_digest(self.data, self.model)

    def begin(self) -> None:
        """The float model's figure, before any long work: what raises there would raise after it."""
        if self.float_score is None:
            self.float_score = self.score(self.model)

    def score(self, model: nn.Module) -> float | None:
        """The user's own figure; None without an `evaluate`."""
        return None if self.evaluate is None else float(self.evaluate(model))

    def output_steps(self, name: str, quantized: QuantizedModel) -> Steps[OutputError]:
        """The output of a version, beside the float model's."""
        label, decide = f"measuring {name}", self.labels_decide
        steps = measured_steps(self.model, self.data, quantized, label, task=self.task, labels_decide=decide)
        return (yield from steps)

    def comparison_steps(self, versions: Sequence[Version]) -> Steps[Comparison]:
        """Versions of one float model, at every layer."""
        module, decide = versions[0].quantized.module, self.labels_decide
        quantized = {version.name: version.quantized for version in versions}
        steps = comparison_steps(module, self.data, quantized=quantized, task=self.task, labels_decide=decide)
        return (yield from steps)

    def again_steps(self, history: History) -> Steps[History]:
        """The same versions with figures of these images."""
        versions = []
        for version in history.values():
            output = yield from self.output_steps(version.name, version.quantized)
            versions.append(replace(version, output=output, score=self.score(version.quantized)))
        return History(versions, history.applied)
