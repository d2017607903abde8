"""What every version of a session is measured with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import SupportsFloat

from torch import nn

from qdiag.comparison.compare import compare
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.evaluated import evaluated
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.streaming import measured_steps
from qdiag.progress import Steps
from qdiag.quantization.identity import data_digest
from qdiag.subject import Subject
from qdiag.workbench.history import History
from qdiag.workbench.twin import Twin
from qdiag.workbench.version import Version


@dataclass
class Measure:
    """The float model with its images, and its figure by the user's own measure, once that was asked for."""

    subject: Subject
    twin: Twin
    float_figure: SupportsFloat | None = None

    @cached_property
    def images(self) -> str:
        """A digest of the data."""
        return data_digest(self.subject.data)

    def begin(self) -> None:
        """The model as it is now, and its figure, before any long work: what raises there would raise after it."""
        self.twin.refresh()
        if self.float_figure is None:
            self.float_figure = self._figure(self.subject.model)

    @property
    def float_score(self) -> float | None:
        """The float model's, as a number."""
        return None if self.float_figure is None else float(self.float_figure)

    def score(self, model: nn.Module) -> float | None:
        """The user's own figure; None without an `evaluate`."""
        found = self._figure(model)
        return None if found is None else float(found)

    def _figure(self, model: nn.Module) -> SupportsFloat | None:
        evaluate = self.subject.evaluate
        return None if evaluate is None else evaluated(evaluate, model).figure

    def is_complete(self, version: Version) -> bool:
        """False where a figure of the version is missing, since measuring it was stopped or failed."""
        return version.measured is not None and (self.subject.evaluate is None or version.score is not None)

    def output_steps(self, version: Version) -> Steps[OutputError]:
        """The output of a version, beside the float model's."""
        return (yield from measured_steps(self.subject, version.quantized, f"measuring {version.name}"))

    def comparison_steps(self, versions: Sequence[Version]) -> Steps[Comparison]:
        """Versions of one float model, at every layer."""
        subject = self.subject.of_module(versions[0].quantized.module)
        quantized = {version.name: version.quantized for version in versions}
        return (yield from compare.steps(subject, quantized=quantized))

    def again_steps(self, history: History) -> Steps[History]:
        """The same versions with figures of these images."""
        versions = []
        for version in history.values():
            output = yield from self.output_steps(version)
            versions.append(replace(version, measured=output, score=self.score(version.quantized)))
        return History(versions, history.applied)
