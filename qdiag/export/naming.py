"""Names that a reader of the file knows: the user's own, and the addresses of stored tensors."""

import re
from collections.abc import Mapping
from typing import Any

from qdiag.export.operators import SITE
from qdiag.numerics.power_of_two import scale_text


def name_tensors(model: Any, constants: Mapping[str, str]) -> dict[str, str]:
    """Rename an onnx_ir model's tensors in place; the ONNX tensor of every stored one, by address.

    constants: names of the buffers that hold layers' weights and biases.

    Weights are named after their layer, other parameters as in the user's state_dict. A stored tensor in integers is
    the address followed by its type, its float values are the address itself.
    """
    names: dict[str, str] = {}
    graph = model.graph
    taken = {value.name for value in (*graph.inputs, *graph.outputs, *graph.initializers.values())}
    known = {value.name: _known_name(value.name, constants) for value in graph.initializers.values()}
    sites = {node.metadata_props.get(SITE) for node in graph} - {None, ""}
    _make_room(graph, {*known.values(), *sites}, taken)
    for value in list(graph.initializers.values()):
        _rename(value, known[value.name], taken)
    for node in graph:
        _name_parameters(node, taken)
        site = node.metadata_props.get(SITE)
        if not site:
            continue
        value = node.outputs[0]
        if node.op_type == "QuantizeLinear":
            for dequantized in (use.node.outputs[0] for use in value.uses()):
                _rename(dequantized, site, taken)
            _rename(value, f"{site} {value.type.dtype.name.lower()}", taken)
        else:
            _rename(value, site, taken)
        names[site] = value.name
    return names


def _known_name(exported: str, constants: Mapping[str, str]) -> str:
    """What a weight is called: after its layer, or as in the user's state_dict."""
    return constants.get(exported.removeprefix("tensors."), exported.removeprefix("model."))


def _make_room(graph: Any, names: set[str], taken: set[str]) -> None:
    """Take these names from tensors inside of layers: an exporter may have chosen the same.

    Addresses and parameters in a model that was loaded from a file are often just what the exporter calls its tensors.
    """
    for value in (value for node in graph for value in node.outputs):
        if value.name in names and not value.is_graph_output():
            value.name = f"{value.name} inner"
            taken.add(value.name)


def _name_parameters(node: Any, taken: set[str]) -> None:
    """Scales and zero points say what they are; the float values of a weight are the weight's."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    integers, scale, zero = node.inputs
    if integers.is_initializer():
        _rename(node.outputs[0], f"{integers.name} float", taken)
    steps = scale.const_value.numpy()
    name = scale_text(float(steps)) if steps.ndim == 0 else f"{integers.name} scale"
    _rename(scale, name, taken)
    _rename(zero, f"{f'{steps.size} x ' if steps.ndim else ''}zero {zero.type.dtype.name.lower()}", taken)


def _rename(value: Any, name: str, taken: set[str]) -> None:
    if value.name != name and name not in taken and not value.is_graph_output():
        taken.add(name)
        value.name = name


def drop_remarks(model: Any) -> None:
    """Remove what torch's exporter noted at nodes and tensors: above all stack traces, with paths of this machine."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    for item in (model, graph, *graph, *values):
        for key in [key for key in item.metadata_props if key.startswith("pkg.")]:
            del item.metadata_props[key]


def name_batch(model: Any) -> bool:
    """Call the first axis of the inputs "batch" wherever its symbol stands; False where it is a fixed number."""
    graph = model.graph
    symbols = {_symbol(value.shape[0]) for value in graph.inputs if value.shape} - {None}
    if len(symbols) != 1:
        return False
    pattern = re.compile(rf"\b{symbols.pop()}\b")
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        for axis, dim in enumerate(value.shape or ()):
            if symbol := _symbol(dim):
                value.shape[axis] = pattern.sub("batch", symbol)
    return True


def _symbol(dim: Any) -> str | None:
    """The name or formula of a length; None for a fixed one, and for one that nothing is known of."""
    return None if isinstance(dim, int) else dim.value
