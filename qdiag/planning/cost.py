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


def _parameters(plan: QuantPlan, layer: Layer) -> int:
    call = plan.trace[layer.site]
    weight = call.tensor("weight") if layer.is_weighted else None
    if weight is None:
        return 0
    channels = weight.shape[1] * layer.groups if layer.is_transposed else weight.shape[0]
    has_bias = layer.norm is not None or call.tensor("bias") is not None
    return math.prod(weight.shape) + (channels if has_bias else 0)
