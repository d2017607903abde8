"""Biases that make the means of quantized layers meet the float ones."""

from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.channels import by_channel
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.operation import Operation
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.batches import batches
from qdiag.tracing.borrowing import borrow_stepwise
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
        corrections = Corrections()
        lane = model.watched(Watchers(weighted=corrections.move))
        lockstep = Lockstep(model.in_float(), [lane])

        def pass_over() -> Steps[None]:
            for progress, batch in Progress.over(batches(data, model.module), "correcting biases"):
                lockstep.run(batch.inputs.in_layout(model.channels_last))
                yield progress

        yield from borrow_stepwise(model.module, pass_over())
        return model.change(calibration=model.calibration.change(weights=corrections.applied(lane)))


class Corrections:
    """By how much each weighted layer's channels have to move to the means of the float network beside."""

    def __init__(self) -> None:
        self.moved: dict[Site, Tensor] = {}
        self.batches: dict[Site, int] = {}

    def move(self, layer: Layer, operation: Operation, result: Tensor) -> Tensor:
        """Watches a lockstep's weighted layers: moves a result by the average over the batches, and goes on with it."""
        site = layer.site
        lost = _channel_means(layer, operation.beside) - _channel_means(layer, result)
        self.batches[site] = self.batches.get(site, 0) + 1
        before = self.moved.get(site, torch.zeros_like(lost))
        self.moved[site] = before + (lost - before) / self.batches[site]
        return result.add_(self.moved[site] if _is_last(layer) else by_channel(self.moved[site], result, 1))

    def applied(self, lane: Interpreter) -> dict[Site, LayerWeights]:
        """The weights that a lane multiplies with, their biases moved."""
        found = {site: (lane.weights.layer_weights(lane.layers[site]), moved) for site, moved in self.moved.items()}
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
