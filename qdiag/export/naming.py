"""Names that a reader of the file knows: the user's own, and the addresses of stored tensors."""

import re
from typing import Any

from qdiag.export.export_lane import SITE, ExportLane


def name_tensors(model: Any, lane: ExportLane) -> dict[str, str]:
    """Rename an onnx_ir model's tensors in place; the ONNX tensor of every stored one, by address.

    Weights are named after their layer, other parameters as in the user's state_dict. A stored tensor in integers is
    the address followed by its type, its float values are the address itself.
    """
    names: dict[str, str] = {}
    graph = model.graph
    taken = {value.name for value in (*graph.inputs, *graph.outputs, *graph.initializers.values())}
    for value in list(graph.initializers.values()):
        buffer = value.name.removeprefix("tensors.")
        _rename(value, lane.tensor_names.get(buffer, value.name.removeprefix("model.")), taken)
    for node in graph:
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


def _rename(value: Any, name: str, taken: set[str]) -> None:
    if value.name != name and name not in taken and not value.is_graph_output():
        taken.add(name)
        value.name = name


def name_batch(model: Any) -> bool:
    """Call the first axis of the inputs "batch" wherever its symbol stands; False where it is a fixed number."""
    import onnx_ir as ir

    firsts = [value.shape[0] for value in model.graph.inputs if value.shape]
    symbols = {dim.value for dim in firsts if isinstance(dim, ir.SymbolicDim)}
    if len(symbols) != 1:
        return False
    pattern = re.compile(rf"\b{re.escape(symbols.pop() or '')}\b")
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    for value in values:
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(dim, ir.SymbolicDim) and dim.value:
                value.shape[axis] = ir.SymbolicDim(pattern.sub("batch", dim.value))
    return True
