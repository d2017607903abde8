"""Ranges that clip, where clipping loses less than the finer step gains."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.fake_quantize import fake_quantize, fake_quantize_
from qdiag.numerics.merge import input_first
from qdiag.numerics.qparams import QParams
from qdiag.numerics.ranges.range import Range
from qdiag.planning.layer import Layer
from qdiag.progress import Steps
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.observe import run_over
from qdiag.quantization.operation import Operation
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.uses import uses
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.site import Site

FINER = 3
"""Bits that a range may give up at most."""


class RangeSearch(Technique):
    """Tries each range at its extremes, and at a half, a quarter and an eighth of them.

    For a stored tensor the sum of squared errors over the calibration images decides (HPTQ, arXiv:2109.09113, 3.2),
    taken where its values are used: behind the SiLU, HardSwish, sigmoid or clip that alone reads it, as what lies far
    below zero is zero there. For a weight the squared error that it makes in the layer's output decides.
    """

    name = "range-search"
    title = "clips ranges where the finer step gains more than the clipping loses"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        trial = _Trial(model)
        watchers = Watchers(arriving=trial.try_weights, stored=trial.try_ranges)
        yield from run_over(model.in_float(watchers, model.calibration.weights), data, "searching ranges")
        ranges = {site: trial.best(site) for site in trial.errors}
        clipped = {site: tried.best() for site, tried in trial.weights.items() if tried is not None}
        weights = {site: weight for site, weight in clipped.items() if weight is not None}
        return model.change(calibration=model.calibration.change(ranges=ranges, weights=weights))


class _Trial:
    """Watches the float network, and sums up what each candidate format would do to its tensors."""

    def __init__(self, model: QuantizedModel):
        self.model, self.formats, self.uses = model, model.formats, uses(model.plan)
        self.errors: dict[Site, Tensor] = {}
        self.weights: dict[Site, _WeightsTried | None] = {}

    def try_weights(self, layer: Layer, operation: Operation) -> None:
        """What each candidate for the weight's format makes of these inputs."""
        if layer.site not in self.weights:
            self.weights[layer.site] = self._tried(self.model.plan.by_site[layer.site])
        tried = self.weights[layer.site]
        for number, deviation in enumerate(tried.deviations if tried is not None else ()):
            assert tried is not None
            error = operation.given(weight=deviation, bias=None)()  # the layer is linear
            channels = error.ndim - deviation.ndim + 1
            tried.errors[number] += error.square().sum([d for d in range(error.ndim) if d != channels])

    def try_ranges(self, layer: Layer, stored: Tensor) -> None:
        """What each candidate for a stored tensor's format makes of it."""
        qparams, factor = self.formats.qparams.get(layer.site), self.formats.factor(layer, stored)
        if qparams is None:
            return
        scaled = stored if factor is None else stored * factor
        use = self.uses.get(layer.site)
        wanted = scaled if use is None else use(stored)
        errors = []
        for candidate in candidates(qparams):
            rounded = fake_quantize_(scaled.clone(), candidate, layer.bounds)
            found = rounded if use is None else use(rounded if factor is None else rounded / factor)
            errors.append((found - wanted).square().sum())
        self.errors[layer.site] = self.errors.get(layer.site, 0) + torch.stack(errors).double()

    def _tried(self, layer: Layer) -> "_WeightsTried | None":
        own = None if layer.weight is None else self.model.weights(layer)
        if own is None:
            return None
        format = self.formats.weight(layer).free
        factor = format.factor(own.weight)
        scaled = own.weight * factor
        qparams = format.qparams(scaled)
        assert qparams is not None, "layers without a format are left alone"
        formats, deviations = candidates(qparams), []
        for candidate in formats:
            deviation = fake_quantize(scaled, candidate) / factor - own.weight
            deviation = input_first(deviation, layer.is_transposed, layer.groups)
            is_channels_last = self.model.channels_last and deviation.ndim == 4
            layout = torch.channels_last if is_channels_last else torch.contiguous_format
            deviations.append(deviation.contiguous(memory_format=layout))
        errors = torch.zeros(len(formats), len(own.weight), dtype=torch.float64, device=own.weight.device)
        return _WeightsTried(own, factor, formats, deviations, errors)

    def best(self, site: Site) -> Range:
        """The range whose format errs least; the old one where it does already."""
        return narrowed(self.model.calibration.ranges[site], self.formats.qparams[site], self.errors[site])


@dataclass
class _WeightsTried:
    """A layer's weight in each candidate format: deviations from it, and [formats, C] squared errors in the output."""

    own: LayerWeights
    factor: Tensor
    formats: list[QParams]
    deviations: list[Tensor]
    errors: Tensor

    def best(self) -> LayerWeights | None:
        by_channel = self.formats[0].axis is not None
        best = (self.errors if by_channel else self.errors.sum(1, keepdim=True)).argmin(0)
        if not bool(best.any()):
            return None
        scaled = self.own.weight * self.factor
        ends = [torch.as_tensor(one.scale(scaled)) * -one.qtype.qmin for one in self.formats]
        limit = torch.stack([end.flatten() for end in ends]).gather(0, best.reshape(1, -1)).reshape(ends[0].shape)
        clipped = torch.minimum(torch.maximum(scaled, -limit), limit) / self.factor
        return dataclasses.replace(self.own, weight=clipped)


def narrowed(old: Range, qparams: QParams, errors: Tensor) -> Range:
    """What is left of a range in that of its candidates which errs least; the old one where that is its own."""
    finer = int(errors.argmin())
    return old.within(qparams.finer(finer).clip) if finer else old


def candidates(qparams: QParams) -> list[QParams]:
    """The format, and those of up to 3 bits less range."""
    return [qparams.finer(bits) for bits in range(FINER + 1)]
