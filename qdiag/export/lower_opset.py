"""An ONNX file in an older opset than torch's exporter writes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from qdiag.errors import ModelError

LOWEST = 11
"""Before it, Clip and Pad had their numbers as attributes, and Resize counted otherwise."""

FIRST_OPTIONAL_INPUTS = 13
"""Before it, Resize had to have all of its inputs but the last."""

FIRST_SOFTMAX = 13
"""Before it, Softmax went over all axes from one on."""


def ir_version(opset: int) -> int:
    """The first IR version that has the opset: older runtimes take the file, and torch would write its newest."""
    from onnx import helper

    return int(helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))


def lower_opset(model: Any, opset: int) -> None:
    """Write an onnx_ir model's operators as an older opset has them, in place; tensors keep their names.

    Raises ModelError for an operator that it has no way for.
    """
    for node in list(model.graph):
        if node.domain in ("", "ai.onnx"):
            _lower(model.graph, node, opset)
    model.opset_imports[""] = opset
    for value in list(model.graph.initializers.values()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[value.name]


def _lower(graph: Any, node: Any, opset: int) -> None:
    """Leave a node that has not changed, rewrite one that has a way, and hold the result to the older schema."""
    from onnx import defs

    now = defs.get_schema(node.op_type, graph.opset_imports[""])
    if now.since_version <= opset:
        return
    way = WAYS.get(node.op_type)
    before = node.op_type
    if way is not None:
        way(graph, node, opset)
    if node.graph is None:  # other nodes stand in its place
        return
    try:
        old = defs.get_schema(node.op_type, opset)
    except defs.SchemaError:
        _refuse(node, opset, f"came with opset {now.since_version}")
    more = [name for name in node.attributes if name not in old.attributes]
    if more or len(node.inputs) > old.max_input:
        _refuse(node, opset, f"has {more[0] if more else 'an input'!r}, which {before} of that opset lacks")


def _refuse(node: Any, opset: int, why: str) -> None:
    raise ModelError(
        f"opset={opset} cannot hold {node.op_type} {node.outputs[0].name!r}, which {why}. Give a higher opset, or "
        "replace the operation.",
        code="opset",
    )


# One function for each operator that changed ----------------------------------------------------------


def _drop(**defaults: Any) -> Callable[[Any, Any, int], None]:
    """Attributes that say no more than was the rule before there were any."""

    def way(graph: Any, node: Any, opset: int) -> None:
        for name, default in defaults.items():
            found = node.attributes.get(name)
            if found is not None and found.value == default:
                del node.attributes[name]
        while node.inputs and node.inputs[-1] is None:
            node.resize_inputs(len(node.inputs) - 1)

    return way


def _axes_as_attribute(since: int, name: str = "axes") -> Callable[[Any, Any, int], None]:
    """Numbers that became an input in this opset."""

    def way(graph: Any, node: Any, opset: int) -> None:
        import onnx_ir

        given = len(node.inputs) > 1 and node.inputs[1] is not None
        if given or not node.attributes.get_int("noop_with_empty_axes", 0):
            node.attributes.pop("noop_with_empty_axes", None)
        if opset >= since or not given:
            return
        numbers = onnx_ir.convenience.get_const_tensor(node.inputs[1])
        if numbers is None:
            _refuse(node, opset, f"computes its {name}")
        node.attributes.add(onnx_ir.AttrInt64s(name, np.asarray(numbers).reshape(-1).tolist()))
        node.resize_inputs(1)

    return way


def _reshape(graph: Any, node: Any, opset: int) -> None:
    """A length of 0 is the input's own, in older opsets: that makes a difference for constants alone."""
    import onnx_ir

    lengths = onnx_ir.convenience.get_const_tensor(node.inputs[1])
    if lengths is None or not (np.asarray(lengths.numpy()) == 0).any() or not node.attributes.get_int("allowzero", 0):
        node.attributes.pop("allowzero", None)


def _split(graph: Any, node: Any, opset: int) -> None:
    """Equal parts by their lengths in place of their number."""
    if node.attributes.pop("num_outputs", None) is not None:
        axis = node.attributes.get_int("axis", 0)
        lengths = [value.shape[axis] if value.shape is not None else None for value in node.outputs]
        if not all(isinstance(length, int) for length in lengths):
            _refuse(node, opset, "splits a length that is open")
        sizes = _constant(graph, f"{node.outputs[0].name} parts", np.array(lengths, np.int64))
        node.resize_inputs(2)
        node.replace_input_with(1, sizes)
    _axes_as_attribute(13, "split")(graph, node, opset)


def _resize(graph: Any, node: Any, opset: int) -> None:
    """Inputs that are left out are empty ones, before opset 13."""
    _drop(antialias=0, keep_aspect_ratio_policy="stretch")(graph, node, opset)
    if opset < FIRST_OPTIONAL_INPUTS:
        for number in (1, 2):
            if node.inputs[number] is None:
                empty = _constant(graph, f"{node.outputs[0].name} no {number}", np.zeros(0, np.float32))
                node.replace_input_with(number, empty)


def _softmax(graph: Any, node: Any, opset: int) -> None:
    """Over the last axis it means the same in every opset."""
    import onnx_ir

    axis, rank = node.attributes.get_int("axis", -1), len(node.inputs[0].shape or ())
    if opset < FIRST_SOFTMAX and axis not in (-1, rank - 1):
        _refuse(node, opset, f"goes along axis {axis}, and before opset {FIRST_SOFTMAX} over all axes from there on")
    node.attributes.add(onnx_ir.AttrInt64("axis", axis))


def _quantize(graph: Any, node: Any, opset: int) -> None:
    """One scale for the whole tensor, before opset 13."""
    scale = node.inputs[1].const_value
    if scale is not None and scale.size == 1:
        node.attributes.pop("axis", None)


def _hard_swish(graph: Any, node: Any, opset: int) -> None:
    def made(tape: Any, x: Any) -> Any:
        return tape.op("Mul", [x, tape.op("HardSigmoid", [x], attributes={"alpha": 1 / 6, "beta": 0.5})])

    _replace(graph, node, made)


def _mish(graph: Any, node: Any, opset: int) -> None:
    _replace(graph, node, lambda tape, x: tape.op("Mul", [x, tape.op("Tanh", [tape.op("Softplus", [x])])]))


def _layer_norm(graph: Any, node: Any, opset: int) -> None:
    """Mean and variance over the last axes, in ReduceMean."""
    import onnx_ir

    x, (scale, *bias) = node.inputs[0], node.inputs[1:]
    first, rank = node.attributes.get_int("axis", -1), len(x.shape)
    axes = list(range(first % rank, rank))
    epsilon = _constant(
        graph, f"{node.outputs[0].name} epsilon", np.float32(node.attributes.get_float("epsilon", 1e-5))
    )
    two = _constant(graph, f"{node.outputs[0].name} exponent", np.float32(2))

    def made(tape: Any, x: Any) -> Any:
        mean = {"axes": onnx_ir.AttrInt64s("axes", axes), "keepdims": onnx_ir.AttrInt64("keepdims", 1)}
        centered = tape.op("Sub", [x, tape.op("ReduceMean", [x], attributes=mean)])
        variance = tape.op("ReduceMean", [tape.op("Pow", [centered, two])], attributes=dict(mean))
        deviation = tape.op("Sqrt", [tape.op("Add", [variance, epsilon])])
        result = tape.op("Mul", [tape.op("Div", [centered, deviation]), scale])
        return tape.op("Add", [result, bias[0]]) if bias and bias[0] is not None else result

    _replace(graph, node, made)


def _shape(graph: Any, node: Any, opset: int) -> None:
    """A part of the shape as a Slice of the whole."""
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", 2**31)
    name = node.outputs[0].name
    ends = [_constant(graph, f"{name} {what}", np.array([n], np.int64)) for what, n in (("start", start), ("end", end))]
    if (start, end) == (0, 2**31):
        _drop(start=0)(graph, node, opset)
        return
    _replace(graph, node, lambda tape, x: tape.op("Slice", [tape.op("Shape", [x]), *ends]))


WAYS: dict[str, Callable[[Any, Any, int], None]] = {
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceProd", "ReduceLogSumExp",
                     "ReduceSumSquare"), _axes_as_attribute(18)),
    **dict.fromkeys(("ReduceSum", "Squeeze", "Unsqueeze"), _axes_as_attribute(13)),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantize),
    "Split": _split,
    "Reshape": _reshape,
    "Pad": _drop(),
    "Resize": _resize,
    "BatchNormalization": _drop(training_mode=0),
    "ScatterElements": _drop(reduction="none"),
    "ScatterND": _drop(reduction="none"),
    "HardSwish": _hard_swish,
    "Mish": _mish,
    "LayerNormalization": _layer_norm,
    "Shape": _shape,
}  # fmt: skip


def _constant(graph: Any, name: str, value: Any) -> Any:
    import onnx_ir

    tensor = onnx_ir.tensor(value, name=name)
    kind, shape = onnx_ir.TensorType(tensor.dtype), onnx_ir.Shape(tensor.shape.numpy())
    made = onnx_ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
    graph.register_initializer(made)
    return made


def _replace(graph: Any, node: Any, make: Callable[[Any, Any], Any]) -> None:
    """Other nodes in place of one; the result keeps its name, and those inside are named after it."""
    import onnx_ir
    from onnx_ir import tape

    written, old = tape.Tape(), node.outputs[0]
    new = make(written, node.inputs[0])
    name, remarks = old.name, dict(node.metadata_props)
    for number, value in enumerate(v for inner in written.nodes for v in inner.outputs):
        value.name, value.type, value.shape = f"{name} inner {number}", old.type, None
    new.producer().metadata_props.update(remarks)
    for number, inner in enumerate(written.nodes):
        inner.name = f"{node.name} {inner.op_type} {number}"
    onnx_ir.convenience.replace_nodes_and_values(graph, node, [node], list(written.nodes), [old], [new])
