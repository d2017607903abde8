"""Weights and biases trained without labels, until the quantized network's tensors meet the float one's."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from qdiag.errors import ModelError
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.reconstruction_numerics import ReconstructionNumerics, trained_layers
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.batches import Batch, batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.inputs import Inputs, floating_leaves
from qdiag.tracing.site import Site

EPOCHS = 24
LEAST_STEPS, MOST_STEPS = 256, 768
WEIGHT_RATE = 0.003
BIAS_RATE = 0.02
# Many small batches reach further than few large ones; below this many values a batch is mostly overhead.
VALUES_IN_BATCH = 600_000
LEAST_BATCH, MOST_BATCH = 4, 32
LEAST_ZOOM = 0.6


class Reconstruction(Technique):
    """Decides by training which way each weight is rounded, and moves the biases along.

    The loss is the relative squared error of the network's outputs, plus the average of that of all stored tensors:
    reconstruction as in BRECQ (arXiv:2102.05426), of all layers at once. Gradients pass rounding straight through.
    Weights and biases are trained in units of the step that they are rounded to (Adam, cosine schedule), so that one
    rate fits all layers: few weights move further than to the step beside them. Ranges stay.

    Images are mirrored and magnified at random, which costs nothing, since the float network says what each should
    give. On EfficientNet-Lite0 and 128 images training without that, or without the stored tensors in the loss, gained
    as much on these images and less on others.
    """

    name = "reconstruction"
    title = "trains how weights are rounded, and biases, to meet the float network's tensors"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        student = _Student(model)
        if not student.layers:
            return model
        yield from borrow_stepwise(model.module, _training(student, data))
        weights = {site: layer.layer_weights() for site, layer in student.layers.items()}
        return model.change(calibration=model.calibration.change(weights=weights))


class _Student:
    """The quantized network with layers to train, beside the float one that teaches it.

    taught: the float network's stored tensors in the last forward. errors: how far the student's are from them.
    """

    def __init__(self, model: QuantizedModel):
        self.model, self.layers = model, trained_layers(model)
        self.taught: dict[Site, Tensor] = {}
        self.errors: list[Tensor] = []
        own = Interpreter(
            model.module,
            model.formats.plan,
            ReconstructionNumerics(model.formats, self.layers),
            given=model.calibration.weights,
            watchers=Watchers(stored=self._meet),
            channels_last=model.channels_last,
            keeps_weights=False,
        )
        self.run, self.teacher = InterpreterRun(own), InterpreterRun(model.in_float(Watchers(stored=self._teach)))

    def _teach(self, layer: Layer, stored: Tensor) -> None:
        self.taught[layer.site] = stored.clone()  # the forward may write to it afterwards

    def _meet(self, layer: Layer, stored: Tensor) -> None:
        if layer.output is not None and layer.site in self.taught and not layer.is_input:
            self.errors.append(_relative_error(stored, self.taught[layer.site]))

    def loss(self, inputs: Inputs) -> Tensor:
        """Of one batch. Raises ModelError where the outputs do not depend on the weights by a gradient."""
        inputs = inputs.in_layout(self.model.channels_last)
        expected = floating_leaves(self.teacher.forward(inputs))
        self.errors = []
        with torch.enable_grad():
            found = floating_leaves(self.run.forward(inputs))
            outputs = [_relative_error(a, b) for a, b in zip(found, expected, strict=True)]
            terms = [_mean(outputs), _mean(self.errors)]
            loss = torch.stack([term for term in terms if term is not None]).sum()
        if not loss.requires_grad:
            raise ModelError(
                "no gradient reaches the weights: the forward detaches its tensors or leaves torch. "
                "Calibrate without reconstruction: method=['equalization', 'range-search', 'bias-correction'].",
                code="no-gradient",
            )
        return loss


def _training(student: _Student, data: Any) -> Steps[None]:
    parts, layers = _Parts(data, student.model), student.layers.values()
    optimizer = torch.optim.Adam(
        [
            {"params": [layer.in_scale_units for layer in layers], "lr": WEIGHT_RATE},
            {"params": [layer.bias_in_scale_units for layer in layers], "lr": BIAS_RATE},
        ]
    )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    steps = min(max(EPOCHS * len(parts), LEAST_STEPS), MOST_STEPS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        loss = student.loss(parts.next())
        # backward() would also leave gradients on the user's own parameters.
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        schedule.step()
        yield Progress("reconstructing", step + 1, steps)


class _Parts:
    """The data in small batches, over and over, in an order of its own each time."""

    def __init__(self, data: Any, model: QuantizedModel):
        self.parts = [part.inputs for batch in batches(data, model.module) for part in _small(batch)]
        self.generator = torch.Generator().manual_seed(0)
        self.order: list[int] = []

    def __len__(self) -> int:
        return len(self.parts)

    def next(self) -> Inputs:
        if not self.order:
            self.order = torch.randperm(len(self.parts), generator=self.generator).tolist()
        return self.magnified(self.parts[self.order.pop()])

    def magnified(self, inputs: Inputs) -> Inputs:
        """A random part of the images at their own size, mirrored every other time; other inputs as they are."""
        tensors = [tensor for _, tensor in inputs.tensors()]
        if len(tensors) != 1 or tensors[0].ndim != 4 or not tensors[0].is_floating_point() or min(tensors[0].shape) < 1:
            return inputs
        zoom, down, right, mirror = torch.rand(4, generator=self.generator).tolist()
        height, width = tensors[0].shape[-2:]
        part = LEAST_ZOOM + (1 - LEAST_ZOOM) * zoom
        rows, columns = max(1, round(height * part)), max(1, round(width * part))
        top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))

        def change(images: Tensor) -> Tensor:
            chosen = images[:, :, top : top + rows, left : left + columns]
            whole = F.interpolate(chosen, (height, width), mode="bilinear", align_corners=False)
            return whole.flip(-1) if mirror < 0.5 else whole

        return inputs.map(change)


def _small(batch: Batch) -> list[Batch]:
    """In parts of a size at which a step is cheap."""
    values = sum(tensor.numel() for _, tensor in batch.inputs.tensors()) / max(1, batch.inputs.batch_size)
    return batch.split(int(min(max(VALUES_IN_BATCH // max(values, 1), LEAST_BATCH), MOST_BATCH)))


def _relative_error(found: Tensor, expected: Tensor) -> Tensor:
    return (found - expected).square().sum() / expected.square().sum().clamp(min=torch.finfo(expected.dtype).tiny)


def _mean(terms: list[Tensor]) -> Tensor | None:
    return torch.stack(terms).mean() if terms else None
