"""What a session works on: the model, and images for each purpose."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from qdiag.errors import OptionError
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.widths import Bits
from qdiag.progress import Steps
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.equalize import equalize
from qdiag.quantization.identity import data_digest, model_digest
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.workbench.session_folder import SessionFolder

FIRST = "simple"
"""The method of the first version: what an engine does by itself."""


@dataclass(frozen=True)
class Material:
    """See `Session`, which takes the same."""

    subject: Subject
    optimizer: torch.optim.Optimizer | None
    training_data: Any

    @property
    def training_images(self) -> Any:
        """Raises OptionError where there are none but those that accuracy is measured on."""
        source = self.subject.calibration_data if self.training_data is None else self.training_data
        if source is None:
            raise OptionError(
                "training needs images of its own, not those that accuracy is measured on: give training_data=…, a "
                "DataLoader or Dataset, with labels or without.",
                code="no-training-data",
            )
        return source

    def lint(self) -> LintReport:
        """What is known to hurt, found by reading the model."""
        return lint_model(self.subject, optimizer=self.optimizer)

    def calibration_steps(
        self,
        method: str | Sequence[str],
        bits: Bits | MacBudget,
        per_channel: PerChannelOption,
        checkpoint: Path | None = None,
    ) -> Steps[QuantizedModel]:
        """Calibrate the float model. checkpoint: where the calibration is kept while it is under way."""
        formats = [(bits, per_channel)]
        steps = calibration_steps(self.subject.calibration, method, formats, checkpoint=checkpoint)
        return (yield from steps)[0]

    def checkpoint(self, folder: SessionFolder | None, *options: Any) -> AbstractContextManager[Path | None]:
        """A file for the calibration that these options tell; gone at the end of `with`. None without a folder."""
        if folder is None:
            return nullcontext()
        images = self.subject.calibration
        return folder.calibration(*options, model_digest(images.model), data_digest(images.data))

    def equalization_steps(self, start: QuantizedModel, layers: str | Sequence[str]) -> Steps[QuantizedModel]:
        """Equalize channels of some layers."""
        return (yield from equalize.steps(start, self.subject.calibration.data, layers))
