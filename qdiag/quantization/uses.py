"""Where the values of a stored tensor are used: behind which activation, where all that read it read it so."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Call, Value

Use = Callable[[Tensor], Tensor]

_ACTIVATIONS: dict[str, Use] = {
    "silu": F.silu,
    "hardswish": F.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "mish": F.mish,
}
_GATED: dict[str, Use] = {"sigmoid": F.silu, "hardsigmoid": F.hardswish}
"""What x times this of x is."""


def uses(plan: QuantPlan) -> dict[Site, Use]:
    """By layer, the activation behind which its stored tensor is used; one that is used as it is has no entry.

    Only where a single SiLU, HardSwish, sigmoid, clip or the like reads it, or x * sigmoid(x) in its two operations.
    """
    found = {layer.site: _use(plan, layer) for layer in plan.layers if not layer.is_input}
    return {site: use for site, use in found.items() if use is not None}


def _use(plan: QuantPlan, layer: Layer) -> Use | None:
    outputs = plan.trace[layer.sites[-1]].outputs
    if len(outputs) != 1 or plan.trace.is_output(outputs[0]):
        return None
    readers = plan.trace.consumers(outputs[0])
    if len(readers) == 1:
        return _of_one(plan, readers[0])
    gate = next((reader for reader in readers if reader.op in _GATED), None)
    is_gated = gate is not None and len(readers) == 2 and any(_gates(reader, outputs[0], gate) for reader in readers)
    return _GATED[gate.op] if gate is not None and is_gated else None


def _of_one(plan: QuantPlan, reader: Call) -> Use | None:
    layer = plan.by_site.get(reader.site)
    if layer is None or layer.sites != (reader.site,):
        return None
    if layer.bounds is not None and layer.bounds != (-math.inf, math.inf):
        return functools.partial(torch.clamp, min=layer.bounds[0], max=layer.bounds[1])
    return _ACTIVATIONS.get(reader.op)


def _gates(product: Call, value: Value, gate: Call) -> bool:
    """True for the product of a tensor and what the gate makes of it."""
    return product.op == "mul" and {read.number for read in product.inputs} == {value.number, gate.outputs[0].number}
