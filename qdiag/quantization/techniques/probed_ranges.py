"""Ranges of stored tensors that clip, where the outputs lose less by it than they gain by the finer step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.numerics.fake_quantize import fake_quantize_
from qdiag.numerics.ranges.range import Range
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps
from qdiag.quantization.fidelity import IMAGES
from qdiag.quantization.probing import Probing
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.range_search import candidates, narrowed
from qdiag.quantization.techniques.technique import Technique
from qdiag.tracing.batches import batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.site import Site

AT_ONCE = 4
"""Images whose stored tensors are held at once, with a gradient beside each."""


class ProbedRanges(Technique):
    """Tries each stored tensor's range at its extremes, and at a half, a quarter and an eighth of them.

    As range-search does, but a value's squared error counts by the squared slope of the outputs at that value, the mean
    over random probes (the diagonal of J'J, as in BRECQ, arXiv:2102.05426, 3.2, where J is the outputs' derivative).
    What the layers behind take away then costs nothing, and quiet channels that the outputs hang on are not given up
    for loud ones. Slopes come from the first 32 images. Where no gradient goes back, all ranges stay.
    """

    name = "probed-ranges"
    title = "chooses ranges by what their errors do to the outputs"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        trial = _Trial(model.change(calibration=model.calibration.change(ranges=model.calibration.seen)))
        try:
            yield from borrow_stepwise(model.module, trial.steps(data))
        except ModelError as error:
            if error.code != "not-differentiable":
                raise
            return model
        return model.change(calibration=model.calibration.change(ranges=trial.ranges()))


class _Trial:
    """Sums up what each candidate format of each stored tensor would do to the outputs."""

    def __init__(self, model: QuantizedModel):
        self.model = model
        self.errors: dict[Site, Tensor] = {}
        self._met: dict[Site, tuple[Layer, Tensor, Tensor]] = {}

    def steps(self, data: Any) -> Steps[None]:
        """Over the first images."""
        probing, generator = Probing(self.model, self._watch), torch.Generator().manual_seed(0)
        for progress, batch in Progress.over(batches(data, self.model.module).upto(IMAGES), "probing ranges"):
            for part in batch.split(AT_ONCE):
                probing.run(part.inputs.in_layout(self.model.channels_last), generator)
                for layer, stored, slopes in self._met.values():
                    self._try(layer, stored, slopes)
                self._met.clear()
            yield progress

    def ranges(self) -> dict[Site, Range]:
        """The range whose format costs the outputs least, of each stored tensor that they hang on."""
        formats, widest = self.model.formats.qparams, self.model.calibration.ranges
        told = {site: errors for site, errors in self.errors.items() if bool(errors.any())}
        return {site: narrowed(widest[site], formats[site], errors) for site, errors in told.items()}

    def _watch(self, layer: Layer, stored: Tensor) -> Callable[[Tensor], None]:
        """Keep a stored tensor with its squared slopes, summed over the probes."""
        slopes = torch.zeros_like(stored)
        self._met[layer.site] = (layer, stored.detach().clone(), slopes)

        def met(gradient: Tensor) -> None:
            slopes.addcmul_(gradient.detach(), gradient.detach())

        return met

    def _try(self, layer: Layer, stored: Tensor, slopes: Tensor) -> None:
        factor = self.model.formats.factor(layer, stored)
        scaled = stored if factor is None else stored * factor
        weights = slopes if factor is None else slopes / factor.square()
        errors = []
        for candidate in candidates(self.model.formats.qparams[layer.site]):
            deviation = fake_quantize_(scaled.clone(), candidate, layer.bounds).sub_(scaled)
            errors.append(deviation.square_().mul_(weights).sum())
        self.errors[layer.site] = self.errors.get(layer.site, 0) + torch.stack(errors).double()
