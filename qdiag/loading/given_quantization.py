"""Files that somebody has quantized: the float network behind the integers, and the formats that were given."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qdiag.errors import ModelError
from qdiag.numerics.given_format import GivenFormat

PAIR = ("QuantizeLinear", "DequantizeLinear")
TYPES = {
    TensorProto.UINT8: (8, False), TensorProto.INT8: (8, True),
    TensorProto.UINT16: (16, False), TensorProto.INT16: (16, True), TensorProto.INT32: (32, True),
}  # fmt: skip
SUMS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "BatchNormalization")
"""What is below zero too, so that a format that begins there does a ReLU's work."""

SIX = 6.0


@dataclass
class GivenFormats:
    """What a file says of its integers.

    tensors: by the name of the tensor. weights: by the name of what the layer computes.
    """

    tensors: dict[str, GivenFormat] = field(default_factory=dict)
    weights: dict[str, GivenFormat] = field(default_factory=dict)


def without_integers(proto: onnx.ModelProto, path: Path) -> tuple[onnx.ModelProto, GivenFormats]:
    """The float network of a file with QuantizeLinear and DequantizeLinear, and their formats; others as they are.

    Weights are what the integers stand for. Where a format took the place of a ReLU or ReLU6, that is there again.

    Raises ModelError for operators that compute in integers, and for scales that are computed.
    """
    if not any(node.op_type in PAIR for node in proto.graph.node):
        _refuse_integer_operators(proto, path)
        return proto, GivenFormats()
    reader = _Reader(proto, path)
    reader.read()
    _refuse_integer_operators(proto, path)
    return proto, reader.given


def _refuse_integer_operators(proto: onnx.ModelProto, path: Path) -> None:
    for node in proto.graph.node:
        if node.op_type.startswith("QLinear") or node.op_type in ("ConvInteger", "MatMulInteger", *PAIR):
            raise ModelError(
                f"{path.name} holds {node.op_type} {node.name or node.output[0]!r}, which computes in integers itself. "
                "Quantize the network in the format QDQ (QuantizeLinear and DequantizeLinear), or load the float one.",
                code="not-loadable",
            )


class _Reader:
    """Goes through a graph once, in its order, and takes the integers out.

    same: name of a tensor -> the name that it goes by behind its pair of operators.
    """

    def __init__(self, proto: onnx.ModelProto, path: Path):
        self.graph, self.path = proto.graph, path
        self.constants: dict[str, Any] = {each.name: each for each in proto.graph.initializer}
        for node in proto.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        sites = [entry.value for entry in proto.metadata_props if entry.key == "qdiag.names"]
        self.sites = set(json.loads(sites[0])) if sites else set()
        self.results = {value.name for value in proto.graph.output}
        self.given = GivenFormats()
        self.same: dict[str, str] = {}
        self.weights: dict[str, GivenFormat] = {}
        self.floats: dict[str, str] = {}
        self.made: dict[str, onnx.TensorProto] = {}

    def read(self) -> None:
        for value in self.graph.input:
            kind = value.type.tensor_type
            kind.elem_type = TensorProto.FLOAT if kind.elem_type in TYPES else kind.elem_type
        self._name_tensors()
        producers = {name: node for node in self.graph.node for name in node.output}
        nodes: list[onnx.NodeProto] = []
        for node in list(self.graph.node):
            if node.op_type not in PAIR:
                nodes.append(self._renamed(node))
            elif node.input[0] in self.constants:
                self._weight(node)
            else:
                self._tensor(node, producers)
        nodes = list(self._with_activations(nodes))
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        self._exchange_weights()
        for value in self.graph.output:
            kind = value.type.tensor_type
            kind.elem_type = TensorProto.FLOAT if kind.elem_type in TYPES else kind.elem_type

    # Names -----------------------------------------------------------------------------------------------

    def _name_tensors(self) -> None:
        """One name for a tensor, its integers and what these stand for.

        As the file's result is called, or the address that `export_onnx` wrote, or else as the float tensor is.
        """
        groups: dict[str, list[str]] = {}
        root: dict[str, str] = {}
        for node in self.graph.node:
            if node.op_type in PAIR and node.input[0] not in self.constants and node.input[0] not in root:
                root[node.input[0]] = node.input[0]
            if node.op_type in PAIR and node.input[0] in root:
                root[node.output[0]] = root[node.input[0]]
        for name, first in root.items():
            groups.setdefault(first, []).append(name)
        given = {value.name for value in self.graph.input}
        for first, names in groups.items():
            results = [name for name in names if name in self.results]
            if first in given and results:
                raise ModelError(f"{self.path.name} gives its input {first!r} as a result.", code="not-loadable")
            written = [name for name in names if name in self.sites]
            chosen = first if first in given else (results or written or [first])[0]
            self.same.update(dict.fromkeys(names, chosen))

    def _renamed(self, node: onnx.NodeProto) -> onnx.NodeProto:
        for number, name in enumerate(node.input):
            if name in self.weights and number == 1 and node.output:
                self.given.weights[self.same.get(node.output[0], node.output[0])] = self.weights[name]
            node.input[number] = self.floats.get(name, self.same.get(name, name))
        for number, name in enumerate(node.output):
            node.output[number] = self.same.get(name, name)
        return node

    def _exchange_weights(self) -> None:
        """The integers and what nothing reads any more make room for the floats."""
        read = {name for node in self.graph.node for name in node.input}
        kept = [each for each in self.graph.initializer if each.name in read and each.name not in self.made]
        del self.graph.initializer[:], self.graph.value_info[:]
        self.graph.initializer.extend([*kept, *self.made.values()])

    # Formats ---------------------------------------------------------------------------------------------

    def _weight(self, node: onnx.NodeProto) -> None:
        """Integers as the floats that they stand for, under their own name; floats with a format as they are."""
        name, kind = node.input[0], self._format(node)
        before = self.constants[name]
        if node.op_type == "DequantizeLinear" and before.data_type in TYPES:
            plain = name.removesuffix("_quantized")
            if plain in self.made or (plain != name and plain in self.constants):
                plain = node.output[0]
            self.made[plain] = before = numpy_helper.from_array(_floats(numpy_helper.to_array(before), kind), plain)
            self.floats[node.output[0]] = plain
        else:
            self.floats[node.output[0]] = self.floats.get(name, name)
        if kind.bits <= 16:
            self.weights[node.output[0]] = kind
        self.constants[node.output[0]] = before

    def _tensor(self, node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> None:
        """The first format of a tensor counts."""
        name = self.same[node.input[0]]
        if node.op_type == "QuantizeLinear" or producers.get(node.input[0]) is None:
            self.given.tensors.setdefault(name, self._format(node))

    def _format(self, node: onnx.NodeProto) -> GivenFormat:
        scale = self._constant(node, 1)
        zero = self._constant(node, 2) if len(node.input) > 2 and node.input[2] else None
        code = zero.data_type if zero is not None else TensorProto.UINT8
        if zero is None and node.op_type == "DequantizeLinear" and node.input[0] in self.constants:
            code = self.constants[node.input[0]].data_type
        if code not in TYPES:
            self._refuse(node, f"has a type of integers that qdiag does not know ({TensorProto.DataType.Name(code)})")
        bits, signed = TYPES[code]
        scales = numpy_helper.to_array(scale).astype(np.float64).reshape(-1)
        zeros = np.zeros(len(scales)) if zero is None else numpy_helper.to_array(zero).reshape(-1)
        axis = {each.name: helper.get_attribute_value(each) for each in node.attribute}.get("axis", 1)
        return GivenFormat(
            bits, signed, tuple(scales.tolist()), tuple(int(z) for z in zeros), axis if len(scales) > 1 else None
        )

    def _constant(self, node: onnx.NodeProto, number: int) -> Any:
        found = self.constants.get(node.input[number])
        if found is None:
            self._refuse(node, "has a scale that is computed")
        return found

    def _refuse(self, node: onnx.NodeProto, why: str) -> None:
        raise ModelError(
            f"{self.path.name} cannot be loaded: {node.op_type} {node.name or node.output[0]!r} {why}.",
            code="not-loadable",
        )

    # What a format did beside rounding -----------------------------------------------------------------------

    def _with_activations(self, nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """With a ReLU behind a sum whose format begins at zero: quantizers remove it, as clamping does its work."""
        count = Counter(name for node in nodes for name in node.output)
        for node in nodes:
            kind = self.given.tensors.get(node.output[0]) if node.output else None
            if kind is None or node.op_type not in SUMS or kind.ends[0] < 0 or kind.bits > 16:
                yield node
                continue
            name = node.output[0]
            sum_name = f"{name} sum"
            assert sum_name not in count, "a name of the file's own"
            node.output[0] = sum_name
            if name in self.given.weights:
                self.given.weights[sum_name] = self.given.weights.pop(name)
            yield node
            high = kind.ends[1]
            if abs(high - SIX) < 1e-3 * SIX:
                for end, value in (("low", 0.0), ("high", SIX)):
                    self.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"{name} {end}"))
                yield helper.make_node("Clip", [sum_name, f"{name} low", f"{name} high"], [name], name=f"{name} clip")
            else:
                yield helper.make_node("Relu", [sum_name], [name], name=f"{name} relu")


def _floats(integers: Any, kind: GivenFormat) -> Any:
    scales, zeros = np.array(kind.scales), np.array(kind.zero_points)
    if kind.axis is not None:
        shape = [-1 if axis == kind.axis % integers.ndim else 1 for axis in range(integers.ndim)]
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    return ((integers.astype(np.float64) - zeros) * scales).astype(np.float32).reshape(integers.shape)
