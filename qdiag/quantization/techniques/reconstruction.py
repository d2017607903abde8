"""Weights and biases trained without labels, until the quantized network's tensors meet the float one's."""

import math
from typing import Any

import torch
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.progress import Progress, Steps
from qdiag.quantization.lane import Lane, LaneRunner
from qdiag.quantization.quantized_model import QuantizedModel, layout
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.training_lane import TrainingLane
from qdiag.tracing.guest import borrow_stepwise
from qdiag.tracing.inputs import Batch, Inputs, batches, named_leaves
from qdiag.tracing.site import Site

BATCH = 16
EPOCHS = 16
WEIGHT_RATE = 0.005
BIAS_RATE = 0.02


class Reconstruction(Technique):
    """Decides by training which way each weight is rounded, and moves the biases along.

    The loss is the relative squared error of the network's outputs, plus that of the tensors between its blocks (all
    that no activation function bounds), averaged: BRECQ's reconstruction (arXiv:2102.05426), of all blocks at once.
    Gradients pass rounding straight through. Weights and biases are trained in units of the step that they are rounded
    to (Adam, cosine schedule), so that one rate fits all layers: few weights move further than to the step beside them.
    Ranges stay.
    """

    name = "reconstruction"
    title = "trains how weights are rounded, and biases, to meet the float network's tensors"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        student = _Student(model)
        if not student.trained:
            return model
        yield from borrow_stepwise(model.module, _training(student, data))
        weights = {site: layer.layer_weights() for site, layer in student.trained.items()}
        return model.change(calibration=model.calibration.change(weights=weights))


class _Teacher(Lane):
    """The float network, which keeps the tensors between blocks of the last forward."""

    def __init__(self, model: QuantizedModel, sites: set[Site]):
        super().__init__(model.module, model.plan.in_float(), channels_last=model.channels_last)
        self.sites = sites
        self.seen: dict[Site, Tensor] = {}

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        if layer.site in self.sites:
            self.seen[layer.site] = result.clone()  # the forward may write to it afterwards
        return result


class _Student(TrainingLane):
    """The quantized network, which sums up how far the tensors between blocks are from the teacher's."""

    def __init__(self, model: QuantizedModel):
        super().__init__(model)
        self.sites = between_blocks(model.plan)
        self.teacher = _Teacher(model, self.sites)
        self.errors: list[Tensor] = []

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        stored = super().store(layer, result)
        if layer.site in self.sites and layer.site in self.teacher.seen:
            self.errors.append(_relative_error(stored, self.teacher.seen[layer.site]))
        return stored

    def loss(self, runner: LaneRunner, taught: LaneRunner, inputs: Inputs) -> Tensor:
        """Of one batch. Raises ModelError where the outputs do not depend on the weights by a gradient."""
        expected = [tensor for _, tensor in named_leaves(taught.forward(inputs)) if tensor.is_floating_point()]
        self.errors = []
        with torch.enable_grad():
            found = [tensor for _, tensor in named_leaves(runner.forward(inputs)) if tensor.is_floating_point()]
            outputs = [_relative_error(a, b) for a, b in zip(found, expected, strict=True)]
            terms = [_mean(outputs), _mean(self.errors)]
            loss = torch.stack([term for term in terms if term is not None]).sum()
        if not loss.requires_grad:
            raise ModelError(
                "no gradient reaches the weights: the forward detaches its tensors or leaves torch. "
                "Calibrate without reconstruction: method=['equalization', 'range-search', 'bias-correction']."
            )
        return loss


def between_blocks(plan: QuantPlan) -> set[Site]:
    """Stored tensors that no activation function bounds; all of them in a network that has none of these."""
    stored = [layer for layer in plan.layers if not layer.is_input and layer.output is not None]
    return {layer.site for layer in stored if layer.bounds is None} or {layer.site for layer in stored}


def _training(student: _Student, data: Any) -> Steps[None]:
    parts = _Parts(data, student)
    layers = student.trained.values()
    optimizer = torch.optim.Adam(
        [
            {"params": [layer.steps for layer in layers], "lr": WEIGHT_RATE},
            {"params": [layer.bias_steps for layer in layers], "lr": BIAS_RATE},
        ]
    )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    total = EPOCHS * len(parts)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / total)))
    runner, taught = LaneRunner(student), LaneRunner(student.teacher)
    for step in range(total):
        loss = student.loss(runner, taught, layout(parts.next().inputs, student.channels_last))
        # backward() would also leave gradients on the user's own parameters.
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        schedule.step()
        yield Progress("reconstructing", step + 1, total)


class _Parts:
    """The data in small batches, over and over, in an order of its own each time."""

    def __init__(self, data: Any, lane: Lane):
        self.parts = [part for batch in batches(data, lane.model) for part in batch.split(BATCH)]
        self.generator = torch.Generator().manual_seed(0)
        self.order: list[int] = []

    def __len__(self) -> int:
        return len(self.parts)

    def next(self) -> Batch:
        if not self.order:
            self.order = torch.randperm(len(self.parts), generator=self.generator).tolist()
        return self.parts[self.order.pop()]


def _relative_error(found: Tensor, expected: Tensor) -> Tensor:
    return (found - expected).square().sum() / expected.square().sum().clamp(min=torch.finfo(expected.dtype).tiny)


def _mean(terms: list[Tensor]) -> Tensor | None:
    return torch.stack(terms).mean() if terms else None
