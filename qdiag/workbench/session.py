"""The workbench without a screen: model, data, results, and commands by name."""

from typing import Any

import torch
from torch import nn

from qdiag.comparison.inspect import SiteDetail, inspect
from qdiag.errors import OptionError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.pipeline import explanation_steps, quantized_steps
from qdiag.progress import OnProgress, Steps, run
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.site import Site


class Session:
    """Holds a model with its data, and what was found out about it.

    >>> from qdiag.demo.load import load_demo
    >>> demo = load_demo("wild")
    >>> session = Session(demo.model, demo.loader, demo.optimizer, calibration_data=demo.calibration_loader)
    >>> str(session.diagnose().culprits[0].layer.site)
    'block3.depthwise'
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        calibration_data: Any = None,
    ):
        self.model, self.data, self.optimizer, self.calibration_data = model, data, optimizer, calibration_data
        self.quantized: dict[str, QuantizedModel] = {}
        self.diagnosis: Diagnosis | None = None
        self._details: dict[Site, SiteDetail] = {}

    def diagnose(self, on_progress: OnProgress = None) -> Diagnosis:
        """Lint, compare, try and explain; the result stays in `diagnosis`."""
        return run(self.diagnosis_steps(), on_progress)

    def diagnosis_steps(self) -> Steps[Diagnosis]:
        """`diagnose` as a generator of Progress. Stopped half-way, it leaves the results from before."""
        quantized = yield from quantized_steps(self.model, self.data, calibration_data=self.calibration_data)
        diagnosis = yield from explanation_steps(self.model, self.data, self.optimizer, quantized)
        self.quantized, self.diagnosis, self._details = quantized, diagnosis, {}
        return diagnosis

    def inspect(self, name: Site | str) -> SiteDetail:
        """Histograms and channels of one layer. Raises OptionError before `diagnose()`, SiteNotFound for no layer."""
        if self.diagnosis is None:
            raise OptionError("nothing to inspect yet: run diagnose() first.")
        site = self.diagnosis.comparison.layer(name).site
        if site not in self._details:
            self._details[site] = inspect(self.model, self.data, self.quantized, [site])[0]
        return self._details[site]
