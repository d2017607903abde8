"""Files in half precision, in float32."""

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def in_float32(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same file with float32 wherever it had float16 or bfloat16, as fixed point is judged against float32."""
    graph = proto.graph
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in _HALF:
                attribute.i = TensorProto.FLOAT
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in _HALF:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return proto


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _HALF:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
