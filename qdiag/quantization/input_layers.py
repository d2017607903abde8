"""Which tensors of a call are the network's inputs, as the trace knows them."""

import re
from collections.abc import Mapping

from torch import nn

from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.tracing.inputs import Inputs, parameters_of_forward


def input_layers(model: nn.Module, plan: QuantPlan, inputs: Inputs) -> dict[int, Layer]:
    """The layer of each floating-point tensor that is one of the network's inputs, by the tensor's id.

    Others have none, as the boxes that a detector takes in training. Further images of a list are stored as its last
    traced one. Where no name is known, as with other keywords, tensors are taken in order.
    """
    names = [value.name for value in plan.trace.inputs if value.is_floating]
    layers = [layer for layer in plan.layers if layer.is_input]
    given = [(name, tensor) for name, tensor in inputs.tensors() if tensor.is_floating_point()]
    parameters = list(parameters_of_forward(model))
    known = {_by_parameter(name, parameters): layer for name, layer in zip(names, layers, strict=True)}
    found = {id(tensor): _known(_by_parameter(name, parameters), known) for name, tensor in given}
    if not any(found.values()):
        return {id(tensor): layer for (_, tensor), layer in zip(given, layers, strict=False)}
    return {tensor: layer for tensor, layer in found.items() if layer is not None}


def _by_parameter(name: str, parameters: list[str]) -> str:
    """An input's name with that of the forward's parameter in place of its position."""
    found = re.fullmatch(r"input(\d*)(\W.*)?", name, re.DOTALL)
    number = int(found[1] or 0) if found else len(parameters)
    return parameters[number] + (found[2] or "") if found and number < len(parameters) else name


def _known(name: str, known: Mapping[str, Layer]) -> Layer | None:
    """The layer of this input; of the last in its list, for one beyond those that were traced."""
    if name in known:
        return known[name]
    items = name.rpartition("[")[0]
    alike = [layer for other, layer in known.items() if items and other.rpartition("[")[0] == items]
    return alike[-1] if alike and name.endswith("]") else None
