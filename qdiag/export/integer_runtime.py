"""An ONNX file in ONNX Runtime on the CPU, optimized to its integer kernels."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from qdiag.export.runtime_session import Python, runtime_session

INTEGER_KERNELS = ("QLinear", "QGemm", "QAttention", "ConvInteger", "MatMulInteger")
"""How the operators begin that compute in integers."""


class IntegerRuntime:
    """Runs a file, and gives tensors from inside it.

    path: the file; what the runtime makes of it is written beside it. watched: names of tensors to give besides the
    file's own outputs. python: an interpreter whose ONNX Runtime it is to be; None for the one installed here.
    kernels: how often the optimized network calls each operator. version: the runtime's.
    Signed 8-bit tensors are held with 128 added, unsigned. The runtime's x86 kernels want stored tensors so; it makes
    that change by itself too, but not for a tensor that two operations read, which it then computes in float. Of signed
    weights, processors without VNNI add pairs of products in 16 bits, which saturate.

    Raises ModelError where the runtime cannot run the file, OptionError where the other Python has none.
    """

    def __init__(self, path: Path, watched: Collection[str] = (), python: Python | None = None):
        import onnx

        model = onnx.load(path)
        self._offsets = dict.fromkeys(_hold_unsigned(model), 128)
        _watch(model, watched)
        optimized, changed = path.with_suffix(".optimized.onnx"), path.with_suffix(".unsigned.onnx")
        onnx.save(model, changed)
        self._session = runtime_session(changed, optimized, python)
        self.kernels = Counter(node.op_type for node in onnx.load(optimized).graph.node)
        self.version = self._session.version

    def run(self, inputs: Sequence[Tensor]) -> dict[str, np.ndarray[Any, Any]]:
        """Every output and watched tensor by name, integers as the file has them.

        Raises InputError for inputs of another shape than the file's.
        """
        found = self._session.run([tensor.numpy(force=True) for tensor in inputs])
        names = self._session.outputs
        return {name: self._as_in_file(name, value) for name, value in zip(names, found, strict=True)}

    def close(self) -> None:
        """End the process of another Python, where there is one."""
        self._session.close()

    def _as_in_file(self, name: str, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return value.astype(np.int32) - self._offsets[name] if name in self._offsets else value


def is_integer_kernel(op_type: str) -> bool:
    """True for an operator that computes in integers, False for one that computes in float or moves values."""
    return op_type.startswith(INTEGER_KERNELS)


def count_integer_kernels(kernels: Mapping[str, int]) -> int:
    """Operators that compute in integers. kernels: how often each operator runs."""
    return sum(count for kernel, count in kernels.items() if is_integer_kernel(kernel))


def _hold_unsigned(model: Any) -> list[str]:
    """Give signed 8-bit tensors of an onnx model the type uint8 and the zero point 128; the names of the stored ones.

    The same integers, 128 higher: what QuantizeLinear makes, and the weights.
    """
    from onnx import TensorProto, numpy_helper

    types = {value.name: value.type.tensor_type for value in model.graph.value_info}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    signed = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and types[node.output[0]].elem_type == TensorProto.INT8
    ]
    weights = {
        node.input[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in initializers
        and initializers[node.input[0]].data_type == TensorProto.INT8
    }
    for name in signed:
        types[name].elem_type = TensorProto.UINT8
    for name in weights:
        higher = numpy_helper.to_array(initializers[name]).astype(np.int16) + 128
        initializers[name].CopyFrom(numpy_helper.from_array(higher.astype(np.uint8), name))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    changed = {*signed, *weights}
    zero_points: dict[tuple[int, ...], str] = {}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and {node.input[0], node.output[0]} & changed:
            shape = shapes[node.input[1]]  # of the scale: one for the tensor, or one for each channel
            name = zero_points.setdefault(shape, f"{ZERO_POINT} {list(shape)}")
            del node.input[2:]
            node.input.append(name)
    for shape, name in zero_points.items():
        model.graph.initializer.append(numpy_helper.from_array(np.full(shape, 128, np.uint8), name))
    return signed


ZERO_POINT = "zero point of a signed tensor held unsigned"


def _watch(model: Any, names: Collection[str]) -> None:
    """Give an onnx model more outputs."""
    types = {value.name: value for value in model.graph.value_info}
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(types[name] for name in names if name not in known)
