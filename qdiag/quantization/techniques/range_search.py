"""Ranges that clip, where clipping loses less than the finer step gains."""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.fake_quantize import fake_quantize, fake_quantize_
from qdiag.numerics.granularity import PerChannel
from qdiag.numerics.qparams import QParams, weight_qparams
from qdiag.numerics.ranges.range import Range
from qdiag.planning.layer import Layer
from qdiag.progress import Steps
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.lane import Lane
from qdiag.quantization.observe import run_over
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import Technique
from qdiag.tracing.site import Site

FINER = 3
"""Bits that a range may give up at most."""


class RangeSearch(Technique):
    """Tries each range at its extremes, and at a half, a quarter and an eighth of them.

    For a stored tensor the sum of squared errors over the calibration images decides; for a weight the squared error
    that it makes in the layer's output, inputs taken as uncorrelated: sum over j of E[x_j^2] (w_j - w^_j)^2
    (HPTQ, arXiv:2109.09113, 3.2, searches power-of-two thresholds in this way).
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
        self.power: dict[Site, Tensor] = {}

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, factor = self.quantized.qparams.get(layer.site), self.factor(layer, result)
        if result.ndim > 1 and result.numel():
            squares = result.square().sum([d for d in range(result.ndim) if d != 1])
            self.power[layer.site] = self.power.get(layer.site, 0) + squares
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
        qparams = candidates(self.quantized.qparams[site])[finer]
        top = 2.0 ** (int(qparams.exponent) + qparams.qtype.bits - qparams.qtype.signed)
        return Range(max(old.low, -top), min(old.high, top))

    def clipped(self, layer: Layer) -> LayerWeights | None:
        """The layer's weight, clipped where that errs less; None where it does not."""
        scheme = self.quantized.layers[layer.site].weight
        own = self.weights(layer) if scheme is not None and layer.is_weighted else None
        if own is None or scheme is None:
            return None
        factor = self.weight_factor(layer, own.weight)
        scaled = own.weight * factor
        axis = scheme.granularity.axis if isinstance(scheme.granularity, PerChannel) else None
        importance = self._importance(layer, own.weight) / factor.square()
        errors, tops = [], []
        for candidate in candidates(weight_qparams(scheme, scaled, axis)):
            error = (fake_quantize(scaled, candidate) - scaled).square() * importance
            errors.append(error.sum() if axis is None else error.flatten(1).sum(1))
            tops.append(torch.as_tensor(candidate.scale(scaled)) * -candidate.qtype.qmin)
        best = torch.stack(errors).argmin(0)
        if not bool(best.any()):
            return None
        limit = torch.stack([top.flatten() for top in tops]).gather(0, best.reshape(1, -1)).reshape(tops[0].shape)
        return dataclasses.replace(own, weight=torch.minimum(torch.maximum(scaled, -limit), limit) / factor)

    def _importance(self, layer: Layer, weight: Tensor) -> Tensor:
        """E[x_j^2] of each input channel, up to one factor, to broadcast against the weight [C, C_in/groups, ...]."""
        power = self.power.get(layer.sources[0]) if layer.sources else None
        if power is None or len(power) != weight.shape[1] * layer.groups:
            return torch.ones_like(weight[:1])
        by_group = power.reshape(layer.groups, 1, -1).expand(-1, len(weight) // layer.groups, -1).flatten(0, 1)
        return by_group.reshape(*by_group.shape, *[1] * (weight.ndim - 2)).to(weight)


def candidates(qparams: QParams) -> list[QParams]:
    """The format, and those of up to 3 bits less range."""
    return [dataclasses.replace(qparams, exponent=qparams.exponent - finer) for finer in range(FINER + 1)]
