"""Weights and biases as the target holds them: what an exported file carries in place of the model's own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from qdiag.numerics.merge import input_first, output_first
from qdiag.numerics.qparams import QParams
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.fixed_numerics import FixedNumerics
from qdiag.quantization.formats import Formats
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.numerics import Operands
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.site import Site

INT_DTYPES = {8: torch.int8, 16: torch.int16, 32: torch.int32}


@dataclass(frozen=True)
class Constant:
    """A tensor that the file holds: integers worth one scale each, or floats.

    scale: one number [], one for each index [C] of the first axis, or None where the values are floats.
    """

    values: Tensor
    scale: Tensor | None = None


@dataclass(frozen=True)
class LayerConstants:
    """What a layer multiplies by and adds.

    weight: in the layout that the operation takes; a transposed convolution's integers with one scale for each output
    channel lie output channels first, as no axis of that layout counts these. weight_qparams: None for floats.
    """

    weight: Constant
    bias: Constant | None
    weight_qparams: QParams | None


def layer_constants(model: QuantizedModel, plan: QuantPlan, inputs: Inputs) -> dict[Site, LayerConstants]:
    """The constants of every layer that runs on these inputs, in the plan's weight formats (float where it has none).

    BatchNorm is merged and channel shifts are multiplied in. They are found by running the forward, since a weight may
    be computed in it. Raises ModelError where the model raises or leaves the plan.
    """
    formats, found = Formats(plan, model.calibration), {}

    def keep(layer: Layer, operands: Operands) -> None:
        found[layer.site] = _constants(layer, operands, formats)

    interpreter = Interpreter(
        model.module,
        formats.plan,
        FixedNumerics(formats),
        given=model.calibration.weights,
        watchers=Watchers(multiplied=keep),
    )
    InterpreterRun(interpreter).forward(inputs)
    return found


def _constants(layer: Layer, operands: Operands, formats: Formats) -> LayerConstants:
    """What a layer multiplies with, in the target's own scale."""
    assert operands.facts is not None, "fixed point tells what became of a weight"
    format, qparams = formats.weight(layer), operands.facts.qparams
    own = output_first(operands.weight, layer.is_transposed, layer.groups)
    weight, bias = _weight(layer, own * format.factor(own), qparams), None
    if operands.bias is not None:
        bias = _bias(operands.bias * format.bias_factor(operands.bias), qparams, format.input)
    return LayerConstants(weight, bias, qparams)


def _weight(layer: Layer, scaled: Tensor, qparams: QParams | None) -> Constant:
    if qparams is None:
        return Constant(input_first(scaled, layer.is_transposed, layer.groups).contiguous())
    integers = (scaled / qparams.scale(scaled)).to(INT_DTYPES[qparams.qtype.bits])
    if qparams.axis is None:
        integers = input_first(integers, layer.is_transposed, layer.groups)
    return Constant(integers.contiguous(), qparams.scale_tensor)


def _bias(scaled: Tensor, weight: QParams | None, source: QParams | None) -> Constant:
    """In 32 bits at the accumulator's scale; as floats where it was not rounded, or takes more than 32 bits."""
    if weight is None or source is None:
        return Constant(scaled)
    codes = scaled.double() / (source.scale(scaled) * weight.scale(scaled.double()))
    if float(codes.abs().max()) > torch.iinfo(torch.int32).max:
        return Constant(scaled)
    return Constant(codes.to(torch.int32), source.tensor_scale * weight.scale_tensor)
