"""What an ONNX file says, as plain values: nodes in order, and constants as tensors."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, inliner, numpy_helper, shape_inference
from torch import Tensor

from qdiag.errors import InputError, ModelError
from qdiag.loading.file_seal import warn_if_changed
from qdiag.loading.given_quantization import GivenFormats, without_integers
from qdiag.loading.half_precision import in_float32

OLDEST = 7
"""Before it, operators broadcast by an attribute, and BatchNormalization had other outputs."""


@dataclass(frozen=True)
class Node:
    """One operator of the file.

    name: the node's own, "" where the file gives it none. An input "" is left out by the file.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def output(self) -> str:
        return self.outputs[0]

    def __str__(self) -> str:
        return f"{self.op} {self.name or self.output!r}"


@dataclass(frozen=True)
class GraphInput:
    """A tensor that the network is given. shape: None for a length that the file leaves open."""

    name: str
    dtype: torch.dtype
    shape: tuple[int | None, ...]


@dataclass
class OnnxGraph:
    """The network of a file.

    constants: initializers and the outputs of Constant nodes. parameters: the names of those that training may change,
    which are the initializers of floating point. given: the formats of a file that somebody has quantized.
    """

    file: Path
    proto: onnx.ModelProto
    opset: int
    nodes: list[Node]
    constants: dict[str, Tensor]
    parameters: frozenset[str]
    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    given: GivenFormats = field(default_factory=GivenFormats)

    @cached_property
    def readers(self) -> Counter[str]:
        """How often each tensor is read, the network's results once more."""
        return Counter([name for node in self.nodes for name in node.inputs if name] + list(self.outputs))

    @cached_property
    def producers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def types(self) -> dict[str, int]:
        """ONNX's number for the type of every tensor whose type onnx can infer."""
        graph = shape_inference.infer_shapes(self.proto).graph
        typed = (*graph.input, *graph.value_info, *graph.output)
        return {value.name: value.type.tensor_type.elem_type for value in typed if value.type.HasField("tensor_type")}


def read_onnx(path: Path) -> OnnxGraph:
    """The network of an ONNX file, with weights from files beside it, in float32.

    Raises InputError for what is no readable ONNX file, ModelError for operators that are not ONNX's own.
    """
    proto, given = without_integers(read_proto(path), path)
    proto = in_float32(proto)
    graph = proto.graph
    constants = {tensor.name: _tensor(tensor) for tensor in graph.initializer}
    floating = frozenset(name for name, value in constants.items() if value.is_floating_point())
    nodes = []
    for each in graph.node:
        if each.op_type == "Constant":
            constants[each.output[0]] = _constant(each)
        else:
            nodes.append(_node(each, path))
    opset = _opset(proto, path)
    outputs = tuple(value.name for value in graph.output)
    inputs = tuple(_input(value) for value in graph.input if value.name not in constants)
    nodes = _without_unread(nodes, outputs)
    return OnnxGraph(path, proto, opset, nodes, constants, floating, inputs, outputs, given)


def _opset(proto: onnx.ModelProto, path: Path) -> int:
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        raise ModelError(
            f"{path.name} is of opset {opset}, and files are read from opset {OLDEST} on. Export the network anew, or "
            f"convert the file: onnx.version_converter.convert_version(onnx.load({path.name!r}), 13).",
            code="opset",
        )
    return opset


def _without_unread(nodes: list[Node], outputs: tuple[str, ...]) -> list[Node]:
    """The nodes without results beside their first that nothing reads, as the mask of a Dropout."""
    read = {name for node in nodes for name in node.inputs}.union(outputs)
    return [replace(node, outputs=_read(node.outputs, read)) for node in nodes]


def _read(outputs: tuple[str, ...], read: set[str]) -> tuple[str, ...]:
    kept = [name if number == 0 or name in read else "" for number, name in enumerate(outputs)]
    while len(kept) > 1 and not kept[-1]:
        kept.pop()
    return tuple(kept)


def read_proto(path: Path) -> onnx.ModelProto:
    """A file as it is, functions of its own inlined. Raises InputError for what cannot be read."""
    return _inlined(_loaded(path))


def _loaded(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise InputError(f"there is no file {path}.", code="no-file")
    try:
        proto = onnx.load(path)
    except Exception as error:  # what onnx raises, protobuf's errors among it, has no common class
        raise _unreadable(path, str(error)) from error
    if not proto.graph.output:
        raise _unreadable(path, "it holds no network")
    if not _is_text(proto):
        raise _unreadable(path, "a name in it is no text")
    warn_if_changed(proto, path)
    return proto


def _is_text(proto: onnx.ModelProto) -> bool:
    """Whether every name is text: what is not, protobuf gives as bytes."""
    graph = proto.graph
    names = [value.name for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info)]
    names += [text for entry in proto.metadata_props for text in (entry.key, entry.value)]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    return all(isinstance(name, str) for name in names)


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} cannot be read as an ONNX file: {why}. Is it whole, and are files with its weights beside it?",
        code="unreadable-file",
    )


def _inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    return inliner.inline_local_functions(proto) if proto.functions else proto


def _node(proto: onnx.NodeProto, path: Path) -> Node:
    node = Node(
        proto.op_type,
        proto.name,
        tuple(proto.input),
        tuple(proto.output),
        {attribute.name: _attribute(attribute) for attribute in proto.attribute},
    )
    if proto.domain not in ("", "ai.onnx"):
        raise ModelError(
            f"{path.name} holds {node}, an operator of {proto.domain!r} and not of ONNX itself. Export the network "
            "without it, or take the file from before an optimizer put it in.",
            code="not-loadable",
        )
    return node


def _attribute(proto: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    return value


def _tensor(proto: onnx.TensorProto) -> Tensor:
    return torch.from_numpy(numpy_helper.to_array(proto).copy())


def _constant(proto: onnx.NodeProto) -> Tensor:
    value = _attribute(proto.attribute[0])
    return value if isinstance(value, Tensor) else torch.tensor(value)


def _input(value: onnx.ValueInfoProto) -> GraphInput:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in kind.shape.dim)
    return GraphInput(value.name, torch_dtype(kind.elem_type), shape)


def torch_dtype(code: int) -> torch.dtype:
    """The type that ONNX has this number for."""
    return torch.from_numpy(np.zeros((), helper.tensor_dtype_to_np_dtype(code))).dtype
