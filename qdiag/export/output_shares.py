"""How much of a device's error at the output each of its layers brings about."""

import math
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from qdiag.numerics.fake_quantize import integer_bounds
from qdiag.planning.layer import Layer
from qdiag.quantization.formats import Formats
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs, named_leaves
from qdiag.tracing.site import Site

TOGETHER = 4
"""Layers that one forward tries side by side: so many times its memory."""


@final
class OneDifference(Numerics):
    """The simulation's numbers, and at one layer a difference added, in steps of its format."""

    def __init__(self, simulated: Numerics, formats: Formats, site: Site, difference: Tensor):
        self.simulated, self.formats, self.site, self.difference = simulated, formats, site, difference

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        return self.simulated.weight(layer, own)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        stored = self.simulated.stored(layer, result)
        if layer.site != self.site:
            return stored
        qparams, factor = self.formats.qparams[layer.site], self.formats.factor(layer, stored)
        in_steps = qparams.tensor_scale if factor is None else qparams.tensor_scale / factor
        low, high = integer_bounds(qparams, None)
        return (stored / in_steps + self.difference.to(stored)).clamp(low, high) * in_steps


def output_shares(
    quantized: QuantizedModel,
    inputs: Inputs,
    differences: Mapping[Site, Tensor],
    outputs: Sequence[tuple[Tensor, Tensor]],
) -> dict[Site, float]:
    """In % of the power of the device's error at the outputs, what each difference alone makes of it.

    Of several outputs each counts by its own power. Nothing where the device's outputs are the simulation's.

    Args:
        quantized: The simulation.
        inputs: What the device was given.
        differences: Of layers, in steps.
        outputs: Each of the model's with that of the simulation and of the device.
    """
    simulated = [own for own, _ in outputs]
    whole = _error(simulated, [device for _, device in outputs])
    shares: dict[Site, float] = {}
    if not whole:
        return shares
    every = list(differences)
    for sites in (every[start : start + TOGETHER] for start in range(0, len(every), TOGETHER)):
        lanes = [_with(quantized, site, differences[site]) for site in sites]
        for site, changed in zip(sites, _outputs(quantized, inputs, lanes), strict=True):
            shares[site] = 100 * _error(simulated, changed) / whole
    return shares


def _with(quantized: QuantizedModel, site: Site, difference: Tensor) -> QuantizedModel:
    return quantized.change(
        numerics=lambda formats: OneDifference(quantized.numerics(formats), formats, site, difference)
    )


def _outputs(quantized: QuantizedModel, inputs: Inputs, lanes: Sequence[QuantizedModel]) -> list[list[Tensor]]:
    lockstep = Lockstep(quantized.in_float(), [lane.interpreter for lane in lanes])
    result = lockstep.run(inputs)
    leaves = [tensor for _, tensor in named_leaves(result) if tensor.is_floating_point()]
    return [[lockstep.twin(tensor, number) for tensor in leaves] for number in range(len(lanes))]


def _error(simulated: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    total = 0.0
    for own, other in zip(simulated, others, strict=True):
        reference, changed = (tensor.detach().to("cpu", torch.float64) for tensor in (own, other))
        power = float(reference.square().sum())
        total += float((changed - reference).square().sum()) / (power or 1.0)
    return total if math.isfinite(total) else 0.0
