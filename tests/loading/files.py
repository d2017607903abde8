"""Small ONNX files for the tests, written node by node."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = (1, 3, 8, 8),
    *,
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    kind: int = TensorProto.FLOAT,
) -> Path:
    """A file with one input x of this shape; a string stands for a length that is left open."""
    x = helper.make_tensor_value_info("x", kind, shape)
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    weights = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "net", [x], results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)
    for value in inferred.graph.output:
        if not value.type.tensor_type.elem_type:
            value.type.tensor_type.elem_type = kind
    onnx.save(inferred, path)
    return path


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node of space-separated inputs and outputs; "-" is an input left out."""
    given = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, given, output.split(), name=f"{op}_{output.split()[0]}", **attributes)
