"""Weights solved for quantized inputs, and rounded so that errors make up for each other."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.gptq import Compensation, output_error
from qdiag.numerics.patches import convolution_padding, each, patches
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps, report
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.operation import Operation
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.bias_correction import Corrections
from qdiag.quantization.techniques.range_search import candidates
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.watchers import Watchers
from qdiag.quantization.weight_source import WeightSource
from qdiag.tracing.batches import batches
from qdiag.tracing.borrowing import borrow_stepwise

MOST_VALUES = 128 * 3 * 224 * 224
"""Of the network's input, over all images: they pass the network together."""
ROWS = 64
"""Positions of a layer's output that are looked at, for each of its inputs."""
LEAST_ROWS = 16384
VALUES_AT_ONCE = 2**24
"""Of patches in memory."""
MOST_INPUTS = 4608
"""Of one output, as a 3 x 3 convolution of 512 channels has: the time grows with their third power."""
RIDGE = 0.01
"""Of the inputs' mean power, on the gram's diagonal."""
OVERFIT = 4.0
"""More of it for each input per position. On EfficientNet-Lite0, 334 images: 0.1 left 17.2 dB, 1 18.4, 4 18.9, 16 19.3,
at 96.4, 97.3, 97.6 and 97.3 % agreement."""
ACCURACY = 1e-5
"""Of sums of products in single precision, relative to them."""
LABEL = "rounding weights"


class Gptq(Technique):
    """Each layer's weights, from the first layer to the last, once those before it are done.

    Least squares find the weights with which the quantized inputs give most nearly the float network's outputs, held
    near the own weights where the images tell little: by a ridge of a hundredth of the inputs' mean power, and more
    the fewer positions there are for each input. GPTQ (arXiv:2210.17323) rounds them one input at a time and lets the
    others make up for the error, in the range that leaves the least error in the outputs. At last the bias makes the
    means meet (see bias-correction).

    All images pass the network together, as many as have 128 x 3 x 224 x 224 values. Transposed convolutions, products
    of matrices, and layers of over 4608 inputs to an output keep their weights, and have their biases corrected.
    """

    name = "gptq"
    title = "solves weights for quantized inputs, and rounds them so that errors make up for each other"

    def steps(self, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        solving = _Solving(model)
        lane = model.watched(Watchers(arriving=solving.solve, weighted=solving.correct), given=solving.weights)
        lockstep = Lockstep(model.in_float(), [lane])

        def all_at_once() -> Steps[None]:
            yield Progress(LABEL, 0, solving.layers)
            images = batches(data, model.module).joined(MOST_VALUES)
            lockstep.run(images.in_layout(model.channels_last))

        yield from borrow_stepwise(model.module, all_at_once())
        return model.change(calibration=model.calibration.change(weights=solving.corrections.applied(lane)))


class _Solving:
    """Solves each layer's weights as soon as its inputs are there.

    weights: those solved by now, and those of the calibration; the lane beside the float one multiplies with them.
    """

    def __init__(self, model: QuantizedModel):
        self.formats = model.formats
        self.own = WeightSource(model.module, model.plan, {})  # also where another technique has changed them
        self.weights = dict(model.calibration.weights)
        self.corrections = Corrections()
        self.layers = sum(layer.is_weighted for layer in model.plan.layers)
        self.generator = torch.Generator().manual_seed(0)

    def solve(self, layer: Layer, operation: Operation) -> None:
        """Watches inputs arrive: from now on the layer multiplies with the weights that suit them."""
        own = None if layer.weight is None else self.own.layer_weights(layer)
        moments = None if own is None else self._moments(layer, own.weight, operation)
        if own is not None and moments is not None:
            self.weights[layer.site] = replace(own, weight=self._rounded(layer, own.weight, moments))

    def correct(self, layer: Layer, operation: Operation, result: Tensor) -> Tensor:
        """Watches results: makes the means meet, and tells how far the work is."""
        moved = self.corrections.move(layer, operation, result)
        report(Progress(LABEL, len(self.corrections.moved), self.layers))
        return moved

    def _moments(self, layer: Layer, weight: Tensor, operation: Operation) -> "_Moments | None":
        arguments, result = operation.arguments, operation.beside
        x = arguments["input"]
        if layer.site.op == "linear":
            rows = iter([(x.flatten(0, -2), result.flatten(0, -2))])
        elif layer.is_transposed or not layer.site.op.startswith("conv") or x.ndim != weight.ndim:
            return None
        else:
            rows = self._convolution_rows(weight, x, result, arguments)
        return None if weight[0].numel() > MOST_INPUTS else _Moments.of(rows, layer.groups)

    def _convolution_rows(
        self, weight: Tensor, x: Tensor, result: Tensor, arguments: dict[str, Any]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        kernel = tuple(weight.shape[2:])
        stride, dilation = (each(arguments.get(option, 1), len(kernel)) for option in ("stride", "dilation"))
        padding = convolution_padding(arguments.get("padding", 0), kernel, dilation)
        sizes = (len(x), *result.shape[2:])
        count = min(math.prod(sizes), max(LEAST_ROWS, ROWS * weight[0].numel()))
        chosen = torch.randperm(math.prod(sizes), generator=self.generator)[:count].to(x.device)
        for part in chosen.split(max(1, VALUES_AT_ONCE // (x.shape[1] * math.prod(kernel)))):
            positions = torch.stack(torch.unravel_index(part, sizes), 1)
            inputs = patches(x, positions, kernel, stride, padding, dilation)
            yield inputs, result.movedim(1, -1)[positions.unbind(1)]

    def _rounded(self, layer: Layer, own: Tensor, moments: "_Moments") -> Tensor:
        format = self.formats.weight(layer).free
        weight = _grouped(own, layer.groups)
        gram = moments.ridged
        solved = weight + torch.linalg.solve(gram, moments.cross - weight @ moments.gram, left=False)
        compensation = Compensation(gram)
        factor = format.factor(own)
        best, least = solved, torch.tensor(math.inf)
        qparams = format.qparams(solved.reshape(own.shape).to(own) * factor)
        assert qparams is not None, "layers without a format are left alone"
        for candidate in candidates(qparams):
            step = _grouped((candidate.scale(own) / factor).expand_as(own), layer.groups)
            rounded = compensation.round(solved, step, (candidate.qtype.qmin, candidate.qtype.qmax))
            error = output_error(solved - rounded, gram)
            error = error.sum() if qparams.axis is None else error[..., None]
            if not bool((error < least).any()):
                break
            best, least = torch.where(error < least, rounded, best), torch.minimum(error, least)
        return best.to(own).reshape(own.shape)


@dataclass(frozen=True)
class _Moments:
    """Of a layer's inputs x and wanted outputs y about their means, in double precision on the CPU.

    gram: E[x x'] [g, in, in]. cross: E[y x'] [g, out, in]. rows: that they are averages of. accuracy: of a mean power
    [g], as sums are in single precision: inputs that are all but constant vary by less than that.
    """

    gram: Tensor
    cross: Tensor
    rows: int
    accuracy: Tensor

    @classmethod
    def of(cls, parts: Iterator[tuple[Tensor, Tensor]], groups: int) -> "_Moments":
        """parts: inputs [rows, C_in, ...] and outputs [rows, C_out]."""
        rows, products, sums = 0, torch.zeros(()), torch.zeros(())
        for inputs, outputs in parts:
            x = inputs.reshape(len(inputs), groups, -1).transpose(0, 1)
            both = torch.cat([x, outputs.reshape(len(outputs), groups, -1).transpose(0, 1)], 2)
            products = products + (both.mT @ x).double().cpu()
            sums = sums + both.double().sum(1).cpu()
            rows, size = rows + len(inputs), x.shape[2]
        mean = sums / rows
        moments = products / rows - mean[:, :, None] * mean[:, None, :size]
        accuracy = ACCURACY * (products[:, :size] / rows).diagonal(dim1=1, dim2=2).mean(1)
        return cls(moments[:, :size], moments[:, size:], rows, accuracy)

    @property
    def ridged(self) -> Tensor:
        """gram, and on its diagonal what holds weights near their own."""
        inputs = self.gram.shape[1]
        power = self.gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=0)
        ridge = power * (RIDGE + OVERFIT * inputs / self.rows) + self.accuracy.clamp(
            min=torch.finfo(torch.float32).tiny
        )
        ridged = self.gram + _diagonal(ridge, inputs)
        while bool(torch.linalg.cholesky_ex(ridged).info.any()):  # of inputs that are constant but for the sums' errors
            ridge = ridge * 10
            ridged = self.gram + _diagonal(ridge, inputs)
        return ridged


def _diagonal(values: Tensor, size: int) -> Tensor:
    """[g] as [g, size, size]."""
    return values[:, None, None] * torch.eye(size, dtype=values.dtype)


def _grouped(weight: Tensor, groups: int) -> Tensor:
    """[out, in, ...] as [g, out, in] in double precision on the CPU."""
    return weight.double().cpu().reshape(groups, len(weight) // groups, -1)
