"""Biases that make the means of quantized layers meet the float ones."""

from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.channels import by_channel
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.lane import Lane
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.quantized_model import QuantizedModel, layout
from qdiag.quantization.techniques.technique import Technique
from qdiag.tracing.guest import borrow_stepwise
from qdiag.tracing.inputs import batches
from qdiag.tracing.intercept import Function
from qdiag.tracing.site import Site


class BiasCorrection(Technique):
    """Adds to each bias what the mean of its channel lost: b += mean(float) - mean(quantized) (arXiv:1906.04721, 4.2).

    Rounded weights shift the mean of a channel, of depthwise convolutions above all, and the layers after it inherit
    the shift. The means are those before the activation function. A layer is corrected before the layers after it see
    its result, within each batch; over the batches the corrections are averaged.
    """

    name = "bias-correction"
    title = "moves biases, so that quantized means meet the float means"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        lane = CorrectingLane(model)
        lockstep = Lockstep(lane.reference, [lane], lambda *_: None, alone=False)

        def pass_over() -> Steps[None]:
            for progress, batch in Progress.over(batches(data, model.module), "correcting biases"):
                lockstep.run(layout(batch.inputs, model.channels_last))
                yield progress

        yield from borrow_stepwise(model.module, pass_over())
        return model.change(calibration=model.calibration.change(weights=lane.corrected()))


class ResultLane(Lane):
    """The float network, which keeps the last weighted layer's result."""

    result: Tensor

    def _weighted(
        self, layer: Layer, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        self.result = super()._weighted(layer, site, function, args, kwargs)
        return self.result


class CorrectingLane(Lane):
    """Moves each weighted layer's result to the mean of the reference beside it, and remembers by how much."""

    def __init__(self, model: QuantizedModel):
        super().__init__(model.module, model.plan, model.calibration, channels_last=model.channels_last)
        self.reference = ResultLane(model.module, model.plan.in_float(), channels_last=model.channels_last)
        self.moved: dict[Site, Tensor] = {}
        self.batches: dict[Site, int] = {}

    def _weighted(
        self, layer: Layer, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        result: Tensor = super()._weighted(layer, site, function, args, kwargs)
        lost = _channel_means(layer, self.reference.result) - _channel_means(layer, result)
        self.batches[site] = self.batches.get(site, 0) + 1
        before = self.moved.get(site, torch.zeros_like(lost))
        self.moved[site] = before + (lost - before) / self.batches[site]
        return result.add_(self.moved[site] if _is_last(layer) else by_channel(self.moved[site], result, 1))

    def corrected(self) -> dict[Site, LayerWeights]:
        """The layers' weights with their biases moved."""
        found = {site: (self.weights(self.layers[site]), moved) for site, moved in self.moved.items()}
        return {
            site: LayerWeights(own.weight, moved if own.bias is None else own.bias + moved, own.made_from)
            for site, (own, moved) in found.items()
            if own is not None
        }


def _is_last(layer: Layer) -> bool:
    """True where channels lie along the last axis, as a linear layer's do."""
    return layer.site.op == "linear"


def _channel_means(layer: Layer, x: Tensor) -> Tensor:
    rows = x.flatten(0, -2) if _is_last(layer) else x.transpose(0, 1).flatten(1).T
    return rows.mean(0)
