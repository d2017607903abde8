"""Weights and biases as the target holds them: what an exported file carries in place of the model's own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from qdiag.numerics.channels import shift_factor
from qdiag.numerics.merge import input_first
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.lane import Lane, LaneRunner
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.site import Site

INT_DTYPES = {8: torch.int8, 16: torch.int16, 32: torch.int32}


@dataclass(frozen=True)
class Constant:
    """A tensor that the file holds: integers worth 2^exponent each, or floats.

    exponent: one number, one for each index [C] of the first axis, or None where the values are floats.
    """

    values: Tensor
    exponent: int | Tensor | None = None


@dataclass(frozen=True)
class LayerConstants:
    """What a layer multiplies by and adds.

    weight: in the layout that the operation takes; a transposed convolution's integers with one exponent for each
    output channel lie output channels first, as no axis of that layout counts these.
    """

    weight: Constant
    bias: Constant | None


def layer_constants(model: QuantizedModel, plan: QuantPlan, inputs: Inputs) -> dict[Site, LayerConstants]:
    """The constants of every layer that runs on these inputs, in the plan's weight formats (float where it has none).

    BatchNorm is merged and channel shifts are multiplied in. They are found by running the forward, since a weight may
    be computed in it. Raises ModelError where the model raises or leaves the plan.
    """
    lane = _ConstantsLane(model.module, plan, model.calibration)
    LaneRunner(lane).forward(inputs)
    return lane.found


class _ConstantsLane(Lane):
    """Keeps the weights that it multiplies with, in the target's own scale."""

    found: dict[Site, LayerConstants]

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.found = {}

    def _quantized(self, layer: Layer, merged: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        weight, new_bias = super()._quantized(layer, merged, bias)
        self.found[layer.site] = LayerConstants(
            self._weight(layer, weight * self.weight_factor(layer, weight)),
            None if new_bias is None else self._bias(layer, new_bias * self._own_factor(layer, new_bias)),
        )
        return weight, new_bias

    def _own_factor(self, layer: Layer, bias: Tensor) -> Tensor:
        shift = self.calibration.shifts.get(layer.site)
        return torch.ones_like(bias) if shift is None else shift_factor(shift, bias)

    def _weight(self, layer: Layer, scaled: Tensor) -> Constant:
        qparams = self.weight_facts[layer.site].qparams
        if qparams is None:
            return Constant(input_first(scaled, layer.is_transposed, layer.groups).contiguous())
        integers = (scaled / qparams.scale(scaled)).to(INT_DTYPES[qparams.qtype.bits])
        if qparams.axis is None:
            integers = input_first(integers, layer.is_transposed, layer.groups)
        return Constant(integers.contiguous(), qparams.exponent)

    def _bias(self, layer: Layer, scaled: Tensor) -> Constant:
        """In 32 bits at the accumulator's scale; as floats where it was not rounded, or takes more than 32 bits."""
        weight = self.weight_facts[layer.site].qparams
        source = self.qparams.get(layer.sources[0]) if layer.sources else None
        if weight is None or source is None:
            return Constant(scaled)
        exponent = source.exponent + weight.exponent
        steps = scaled.double() * 2.0 ** -torch.as_tensor(exponent, dtype=torch.float64)
        if float(steps.abs().max()) > torch.iinfo(torch.int32).max:
            return Constant(scaled)
        return Constant(steps.to(torch.int32), exponent)
