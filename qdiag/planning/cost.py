"""What a layer costs the target."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.tracing.site import Site


def operations(plan: QuantPlan, layer: Layer) -> int:
    """Multiply-accumulates of a weighted layer; one for each value that another one stores. Of the traced images."""
    if layer.is_input:
        return math.prod(plan.trace.inputs[layer.site.occurrence].shape)
    call = plan.trace[layer.site]
    stored = math.prod(call.outputs[0].shape)
    weight = call.tensor("weight") if layer.is_weighted else None
    if weight is None:
        return stored
    # Each weight that leads to an output, or away from an input of a transposed convolution, is used once for it.
    ends = math.prod(call.inputs[0].shape) if layer.is_transposed else stored
    return ends * math.prod(weight.shape[1:])


def share_percent(plan: QuantPlan, sites: Iterable[Site]) -> float:
    """These layers' part in the operations of the whole network, in percent."""
    costs = {layer.site: operations(plan, layer) for layer in plan.layers}
    return 100 * sum(costs[site] for site in sites) / max(1, sum(costs.values()))


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one image.

    Attributes:
        macs: Multiply-accumulates of a layer with weights; else one for each value that it stores.
        parameters: Weights and biases as the target stores them, BatchNorm merged in.
        shape: Of the stored tensor, the number of images left out.
    """

    macs: int
    parameters: int
    shape: tuple[int, ...]


def layer_cost(plan: QuantPlan, layer: Layer) -> LayerCost:
    """One layer's cost, by the trace that the plan was made from."""
    inputs = plan.trace.inputs
    images = max(1, inputs[0].shape[0]) if inputs and inputs[0].shape else 1
    macs = operations(plan, layer) // images
    if layer.is_input:
        return LayerCost(macs, 0, inputs[layer.site.occurrence].shape[1:])
    return LayerCost(macs, _parameters(plan, layer), plan.trace[layer.sites[-1]].outputs[0].shape[1:])


@dataclass(frozen=True)
class PlanCost:
    """What a plan costs the target.

    Attributes:
        wide_percent: Multiply-accumulates of layers with more than 8 bits somewhere, or in float, of all of them.
        parameter_bytes: Weights and biases as they are stored, BatchNorm merged in.
    """

    wide_percent: float
    parameter_bytes: int


def plan_cost(plan: QuantPlan) -> PlanCost:
    """By the trace that the plan was made from."""
    wide = [layer.site for layer in plan.layers if not layer.is_input and _is_wide(layer)]
    return PlanCost(share_percent(plan, wide), sum(_parameter_bytes(plan, layer) for layer in plan.layers))


NARROW, FLOAT = 8, 32
"""Bits of what costs least, and of a number in float."""


def _is_wide(layer: Layer) -> bool:
    schemes = [layer.output, layer.weight] if layer.is_weighted else [layer.output]
    return any(scheme is None or scheme.bits > NARROW for scheme in schemes)


def _parameter_bytes(plan: QuantPlan, layer: Layer) -> int:
    weight = None if layer.is_input or not layer.is_weighted else plan.trace[layer.site].tensor("weight")
    if weight is None:
        return 0
    weights = math.prod(weight.shape)
    bits = weights * (FLOAT if layer.weight is None else layer.weight.bits)
    return (bits + (_parameters(plan, layer) - weights) * layer.accumulator_bits + 7) // 8


def _parameters(plan: QuantPlan, layer: Layer) -> int:
    call = plan.trace[layer.site]
    weight = call.tensor("weight") if layer.is_weighted else None
    if weight is None:
        return 0
    channels = weight.shape[1] * layer.groups if layer.is_transposed else weight.shape[0]
    has_bias = layer.norm is not None or call.tensor("bias") is not None
    return math.prod(weight.shape) + (channels if has_bias else 0)
