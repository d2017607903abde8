"""The weights of an ONNX file, by layer: what they are, and others in their place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.loading.onnx_graph import Node
from qdiag.numerics.merge import NormState, input_first, merge, output_first
from qdiag.planning.layer import Layer

SAME = 1e-6
"""Of the largest value: what two orders of the same products differ by."""


@dataclass(frozen=True)
class Written:
    """A constant of the file that was changed. before: None where there was none. role: what it is to its node."""

    name: str
    role: str
    before: Tensor | None
    after: Tensor


class FileWeights:
    """A file's constants, and the nodes that read them.

    proto: an onnx ModelProto, which is changed in place. file: its name, for errors.
    """

    def __init__(self, proto: Any, file: str):
        self.proto, self.file = proto, file
        graph = proto.graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        constants = [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].HasField("t")]
        self._tensors |= {node.output[0]: node.attribute[0].t for node in constants}
        self._producers = {name: node for node in graph.node for name in node.output}

    def values(self, name: str) -> Tensor:
        """A constant. Raises ModelError for what the file computes."""
        from onnx import numpy_helper

        if name not in self._tensors:
            raise ModelError(
                f"{self.file} computes {name!r}, which a layer multiplies by, from other constants: it cannot be "
                "written in its place. Fold the file's constants first, with onnxsim or onnxruntime's optimizer.",
                code="weight-computed",
            )
        tensor = self._tensors[name]
        values = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        if values.dtype != torch.float32:
            raise ModelError(
                f"{self.file} holds {name!r} in {str(values.dtype).removeprefix('torch.')}, too coarse for what was "
                "found in float32. Give the float32 file.",
                code="half-precision",
            )
        return values

    def write(self, layer: Layer, node: Node, norm: Node | None, weight: Tensor, bias: Tensor | None) -> list[Written]:
        """Put a layer's weight and bias in, merged with BatchNorm, and as the operation takes them; what changed.

        A BatchNormalization stays, and does no more than to add the bias. Nothing is written where the file computes
        the same already.
        """
        own_weight, own_bias = self._merged(layer, node, norm)
        if _same(own_weight, weight) and _same(own_bias, bias):
            return []
        if norm is None:
            return [*self._weight(node, weight), *self._bias(node, bias)]
        zeros = torch.zeros(len(bias)) if bias is not None else None
        nothing = self._bias(node, zeros) if _has_bias(node) else ()
        return [*self._weight(node, weight), *nothing, *self._norm(norm, bias)]

    def _merged(self, layer: Layer, node: Node, norm: Node | None) -> tuple[Tensor, Tensor | None]:
        """What the layer multiplies by and adds as the file has it, as the operation takes it."""
        weight = _as_torch(node, self.values(node.inputs[1]))
        bias = self._own_bias(node)
        if norm is None:
            return weight, bias
        scale, offset, mean, variance = (self.values(name) for name in norm.inputs[1:5])
        state = NormState(mean, variance, scale, offset, norm.attributes.get("epsilon", 1e-5))
        merged, bias = merge(output_first(weight, layer.is_transposed, layer.groups), bias, state)
        return input_first(merged, layer.is_transposed, layer.groups), bias

    def _own_bias(self, node: Node) -> Tensor | None:
        if not _has_bias(node):
            return None
        found = self.values(node.inputs[2]).reshape(-1) * _factor(node, "beta")
        return found.expand(len(self.values(node.inputs[1]))) if len(found) == 1 else found

    def _weight(self, node: Node, weight: Tensor) -> Iterator[Written]:
        is_turned, alpha = _is_turned(node), _factor(node, "alpha")
        yield from self._put(node, 1, "weight", (weight.t() if is_turned else weight) / alpha)

    def _bias(self, node: Node, bias: Tensor | None) -> Iterator[Written]:
        if bias is None:
            return
        if not _has_bias(node) and node.op == "MatMul":
            yield self._added(node, bias)
        else:
            yield from self._put(node, 2, "bias", bias / _factor(node, "beta"))

    def _norm(self, norm: Node, bias: Tensor | None) -> Iterator[Written]:
        """A BatchNormalization by 1, which adds a bias alone."""
        variance = self.values(norm.inputs[4])
        epsilon = norm.attributes.get("epsilon", 1e-5)
        yield from self._put(norm, 1, "scale", (variance + epsilon).sqrt())
        yield from self._put(norm, 2, "offset", torch.zeros_like(variance) if bias is None else bias)
        yield from self._put(norm, 3, "mean", torch.zeros_like(variance))

    # One constant ---------------------------------------------------------------------------------------

    def _put(self, node: Node, index: int, role: str, values: Tensor) -> Iterator[Written]:
        """In the place of the one that is there; one of its own where others read that too, or there is none."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        before = self.values(name) if name else None
        if before is not None and _same(before.reshape(-1), values.reshape(-1)):
            return
        if before is not None and before.numel() == values.numel() and self._readers(name) == 1:
            self._tensors[name].CopyFrom(_proto(values.reshape(before.shape), name))
        else:
            name = self._new(f"{node.output} {role}", values)
            self._point(node, index, name)
        yield Written(name, role, before, values)

    def _readers(self, name: str) -> int:
        return sum(other == name for node in self.proto.graph.node for other in node.input)

    def _new(self, name: str, values: Tensor) -> str:
        while name in self._tensors or name in self._producers:
            name += "_"
        self.proto.graph.initializer.append(_proto(values, name))
        self._tensors[name] = self.proto.graph.initializer[-1]
        return name

    def _point(self, node: Node, index: int, name: str) -> None:
        """Let the file's node read another constant: of two nodes that became one layer, the one that read it."""
        last = self._producers[node.output]
        old = node.inputs[index] if index < len(node.inputs) else ""
        around = [last, *(self._producers[each] for each in last.input if each in self._producers)]
        reader = next((each for each in around if old and old in each.input), last)
        if old:
            reader.input[list(reader.input).index(old)] = name
        else:
            reader.input.extend([""] * (index - len(reader.input)) + [name])

    def _added(self, node: Node, bias: Tensor) -> Written:
        """An Add behind a MatMul; its result has the MatMul's name."""
        from onnx import helper

        graph, product = self.proto.graph, f"{node.output} product"
        before = self._producers[node.output]
        before.output[0] = product
        name = self._new(f"{node.output} bias", bias)
        position = list(graph.node).index(before) + 1
        graph.node.insert(position, helper.make_node("Add", [product, name], [node.output], f"{node.output} bias Add"))
        return Written(name, "bias", None, bias)


def _has_bias(node: Node) -> bool:
    return len(node.inputs) > 2 and bool(node.inputs[2]) and node.op != "MatMul"


def _factor(node: Node, name: str) -> float:
    """A Gemm's alpha or beta."""
    return float(node.attributes.get(name, 1.0)) if node.op == "Gemm" else 1.0


def _is_turned(node: Node) -> bool:
    """True where the file's matrix is [inputs, outputs]."""
    return node.op in ("MatMul", "qdiag.Linear") or (node.op == "Gemm" and not node.attributes.get("transB"))


def _as_torch(node: Node, values: Tensor) -> Tensor:
    return (values.t() if _is_turned(node) else values) * _factor(node, "alpha")


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Equal, and no bias equal to one of zeros."""
    if one is None or other is None:
        given = one if one is not None else other
        return given is None or not given.any()
    return one.shape == other.shape and bool((one - other).abs().max() <= SAME * one.abs().max())


def _proto(values: Tensor, name: str) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(values.numpy(force=True), dtype=np.float32), name)
