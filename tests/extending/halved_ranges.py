"""Ranges halved where that pays: a calibration technique of our own, and a method that uses it."""

from typing import Any

from qdiag.progress import Progress, Steps
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.methods.method import Method
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.what_if import what_if


class HalvedRanges(Technique):
    """Tries half the range for one stored tensor after the other, and keeps what takes the outputs nearer to float.

    One forward of a few images for each layer: slower than the search by histograms, and blind to nothing.
    """

    name = "halved-ranges"
    title = "halves ranges where the outputs gain by it"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        reached = (yield from fidelity_steps(model, data)).output_db
        sites = [layer.site for layer in model.plan.layers if layer.site in model.calibration.ranges]
        for progress, site in Progress.over(sites, "halving ranges"):
            tried = what_if(model, str(site), octaves=-1)
            found = (yield from fidelity_steps(tried, data)).output_db
            if found > reached:
                model, reached = tried, found
            yield progress
        return model


class Patient(Method):
    """Halved ranges, then weights solved and rounded so that errors make up for each other."""

    name = "patient"
    techniques = ("halved-ranges", "gptq")
