"""Why a version of a session loses what it loses."""

from qdiag.comparison.brought import Brought
from qdiag.comparison.inspect import inspect
from qdiag.comparison.site_detail import SiteDetail
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.pipeline import explanation_steps
from qdiag.progress import Steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.what_if import what_if
from qdiag.tracing.site import Site
from qdiag.workbench.material import FIRST, Material
from qdiag.workbench.measure import Measure


class Diagnosing:
    """Compares versions with float and 16 bits; the float model in 16 bit is made once."""

    def __init__(self, material: Material, measure: Measure):
        self.material, self.measure = material, measure
        self._fine: QuantizedModel | None = None

    def steps(
        self, quantized: QuantizedModel, lane: str, first: QuantizedModel | None
    ) -> Steps[tuple[Diagnosis, dict[Site, SiteDetail]]]:
        """The diagnosis, and a close look at each layer. first: the session's first version, where it is known."""
        subject = self.measure.subject.of_module(quantized.module)
        fine, brought = (yield from self._in_16_bit_steps(first)), None
        if subject is not self.measure.subject:  # trained: its outputs beside the model brought in
            fine, brought = what_if(quantized, bits=16), Brought(self.measure.subject.model, fine)
        pair = {"16-bit": fine, lane: quantized}
        diagnosis = yield from explanation_steps(
            subject, self.material.lint(), pair, self.measure.float_figure, brought
        )
        sites = [layer.site for layer in diagnosis.comparison.layers]
        return diagnosis, dict(zip(sites, inspect(subject, quantized=pair, sites=sites), strict=True))

    def _in_16_bit_steps(self, first: QuantizedModel | None) -> Steps[QuantizedModel]:
        """The float model in 16 bit, whatever became of weights and ranges in a version."""
        if self._fine is None:
            if first is None:
                first = yield from self.material.calibration_steps(FIRST, 8, None)
            self._fine = what_if(first, bits=16)
        return self._fine
