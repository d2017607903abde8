"""Ranges that clip, where clipping loses less than the finer step gains."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.fake_quantize import fake_quantize, fake_quantize_
from qdiag.numerics.merge import input_first
from qdiag.numerics.qparams import QParams, weight_qparams
from qdiag.numerics.ranges.range import Range
from qdiag.planning.layer import Layer
from qdiag.progress import Steps
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.lane import Lane
from qdiag.quantization.observe import run_over
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import Technique
from qdiag.tracing.intercept import Function
from qdiag.tracing.operations import replace_arguments
from qdiag.tracing.site import Site

FINER = 3
"""Bits that a range may give up at most."""


class RangeSearch(Technique):
    """Tries each range at its extremes, and at a half, a quarter and an eighth of them.

    For a stored tensor the sum of squared errors over the calibration images decides (HPTQ, arXiv:2109.09113, 3.2); for
    a weight the squared error that it makes in the layer's output on these images.
    """

    name = "range-search"
    title = "clips ranges where the finer step gains more than the clipping loses"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        lane = _ErrorLane(model)
        yield from run_over(lane, data, "searching ranges")
        ranges = {site: lane.best(site) for site in lane.errors}
        weights = {layer.site: found for layer in lane.plan.layers if (found := lane.clipped(layer)) is not None}
        return model.change(calibration=model.calibration.change(ranges=ranges, weights=weights))


class _ErrorLane(Lane):
    """The float network, which sums up what each candidate format would do to its tensors."""

    def __init__(self, model: QuantizedModel):
        super().__init__(model.module, model.plan.in_float(), model.calibration, channels_last=model.channels_last)
        self.quantized = Lane(model.module, model.plan, model.calibration)
        self.errors: dict[Site, Tensor] = {}
        self.weights_tried: dict[Site, _WeightsTried | None] = {}

    def _weighted(
        self, layer: Layer, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if layer.site not in self.weights_tried:
            self.weights_tried[layer.site] = self._try(layer)
        tried = self.weights_tried[layer.site]
        if tried is not None:
            for number, deviation in enumerate(
                tried.deviations
            ):  # the layer is linear: what it makes of them is the error
                positional, named = replace_arguments(site.op, args, kwargs, {"weight": deviation, "bias": None})
                error = function(*positional, **named)
                channels = error.ndim - deviation.ndim + 1
                tried.errors[number] += error.square().sum([d for d in range(error.ndim) if d != channels])
        return super()._weighted(layer, site, function, args, kwargs)

    def _try(self, layer: Layer) -> "_WeightsTried | None":
        scheme = self.quantized.layers[layer.site].weight
        own = None if scheme is None else self.weights(layer)
        if scheme is None or own is None:
            return None
        factor = self.weight_factor(layer, own.weight)
        scaled = own.weight * factor
        formats = candidates(weight_qparams(scheme, scaled))
        deviations = []
        for qparams in formats:
            deviation = input_first(
                fake_quantize(scaled, qparams) / factor - own.weight, layer.is_transposed, layer.groups
            )
            is_channels_last = self.channels_last and deviation.ndim == 4
            layout = torch.channels_last if is_channels_last else torch.contiguous_format
            deviations.append(deviation.contiguous(memory_format=layout))
        errors = torch.zeros(len(formats), len(own.weight), dtype=torch.float64, device=own.weight.device)
        return _WeightsTried(own, factor, formats, deviations, errors)

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, factor = self.quantized.qparams.get(layer.site), self.factor(layer, result)
        if qparams is None:
            return result
        stored = result if factor is None else result * factor
        errors = [
            (fake_quantize_(stored.clone(), candidate, self.quantized.layers[layer.site].bounds) - stored)
            .square()
            .sum()
            for candidate in candidates(qparams)
        ]
        self.errors[layer.site] = self.errors.get(layer.site, 0) + torch.stack(errors).double()
        return result

    def best(self, site: Site) -> Range:
        """The range whose format errs least; the old one where it does already."""
        finer, old = int(self.errors[site].argmin()), self.calibration.ranges[site]
        if finer == 0:
            return old
        clip = self.quantized.qparams[site].finer(finer).clip
        return Range(max(old.low, -clip), min(old.high, clip))

    def clipped(self, layer: Layer) -> LayerWeights | None:
        """The layer's weight, clipped where that errs less; None where it does not."""
        tried = self.weights_tried.get(layer.site)
        return None if tried is None else tried.best()


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
        tops = [torch.as_tensor(one.scale(scaled)) * -one.qtype.qmin for one in self.formats]
        limit = torch.stack([top.flatten() for top in tops]).gather(0, best.reshape(1, -1)).reshape(tops[0].shape)
        clipped = torch.minimum(torch.maximum(scaled, -limit), limit) / self.factor
        return dataclasses.replace(self.own, weight=clipped)


def candidates(qparams: QParams) -> list[QParams]:
    """The format, and those of up to 3 bits less range."""
    return [qparams.finer(bits) for bits in range(FINER + 1)]
