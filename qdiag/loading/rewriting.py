"""Layers that a file writes as several operators, put together again.

Exporters take SiLU, GELU, LayerNorm and their like apart, and engines put them together, into one lookup or one layer
with one stored tensor. What is put together here is the same function to 1e-4, as every step of a loaded file is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from qdiag.loading.onnx_graph import Node, OnnxGraph
from qdiag.loading.pattern import Either, Match, Number, Op, Scalar, Tree, Weight, find
from qdiag.loading.sequences import without_sequences


@dataclass(frozen=True)
class Rewrite:
    """A tree, the operator that it is, and that operator's inputs by the tree's names."""

    op: str
    tree: Op
    inputs: tuple[str, ...] = ("x",)
    attributes: Callable[[OnnxGraph, Match], dict[str, Any]] = lambda graph, match: {}


def rewritten(graph: OnnxGraph) -> OnnxGraph:
    """The same network with as few operators as it is made of."""
    graph = without_sequences(graph)
    for rewrite in REWRITES:
        for node in graph.nodes:
            if node.op != rewrite.tree.op:
                continue
            match = find(graph, rewrite.tree, node)
            if match is not None:
                graph = _joined(graph, rewrite, match)
    return graph


def _joined(graph: OnnxGraph, rewrite: Rewrite, match: Match) -> OnnxGraph:
    last = match.nodes[0]
    inputs = tuple(match.tensors[name] for name in rewrite.inputs)
    whole = Node(rewrite.op, last.name, inputs, last.outputs, rewrite.attributes(graph, match))
    gone = {id(node) for node in match.nodes[1:]}
    nodes = [whole if node is last else node for node in graph.nodes if id(node) not in gone]
    return replace(graph, nodes=nodes)


def _bounds(low: float, high: float) -> Callable[[OnnxGraph, Node], bool]:
    def holds(graph: OnnxGraph, node: Node) -> bool:
        given = [node.attributes.get("min"), node.attributes.get("max")]
        for position, name in enumerate(node.inputs[1:3]):
            given[position] = graph.constants[name].item() if name in graph.constants else None
        return given == [low, high]

    return holds


def _is_torchs(graph: OnnxGraph, node: Node) -> bool:
    """True for a HardSigmoid of x / 6 + 1/2; ONNX's own is x / 5 + 1/2."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return math.isclose(alpha, 1 / 6, rel_tol=1e-4) and math.isclose(beta, 0.5)


def _over_last_axis(graph: OnnxGraph, node: Node) -> bool:
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1] in graph.constants:
        axes = graph.constants[node.inputs[1]].reshape(-1).tolist()
    return list(axes or ()) == [-1] and node.attributes.get("keepdims", 1) == 1


def _epsilon(graph: OnnxGraph, match: Match) -> dict[str, Any]:
    return {"epsilon": graph.constants[match.tensors["epsilon"]].item(), "axis": -1}


def _scaled(tree: Tree, factor: float) -> Either:
    """A tree times a factor, or divided by its inverse."""
    return Either((Op("Mul", (tree, Number(factor))), Op("Div", (tree, Number(1 / factor)))))


def _ways(op: str, *trees: Op, **attributes: Any) -> tuple[Rewrite, ...]:
    return tuple(Rewrite(op, tree, attributes=lambda graph, match: attributes) for tree in trees)


def _gelu(of_normal: Op, **attributes: Any) -> tuple[Rewrite, ...]:
    """x times half of 1 + erf or tanh of it, in the orders that exporters write. of_normal: 1 + erf or tanh."""
    return _ways(
        "Gelu",
        Op("Mul", (Op("Mul", ("x", of_normal)), Number(0.5))),
        Op("Mul", (_scaled("x", 0.5), of_normal)),
        Op("Mul", ("x", Op("Mul", (of_normal, Number(0.5))))),
        Op("Div", (Op("Mul", ("x", of_normal)), Number(2.0))),
        **attributes,
    )


_CLIPPED = Op("Clip", (Op("Add", ("x", Number(3.0))),), _bounds(0.0, 6.0))
_NORMAL = Op("Add", (Op("Erf", (_scaled("x", math.sqrt(0.5)),)), Number(1.0)))
_CUBE = Either((Op("Pow", ("x", Number(3.0))), Op("Mul", ("x", Op("Mul", ("x", "x"))))))
_CUBIC = Op("Add", ("x", Op("Mul", (_CUBE, Number(0.044715)))))
_NEARLY_NORMAL = Op("Add", (Op("Tanh", (Op("Mul", (_CUBIC, Number(math.sqrt(2 / math.pi)))),)), Number(1.0)))
_CENTERED = Op("Sub", ("x", Op("ReduceMean", ("x",), _over_last_axis)))
_SQUARE = Either((Op("Pow", (_CENTERED, Number(2.0))), Op("Mul", (_CENTERED, _CENTERED))))
_VARIANCE = Op("ReduceMean", (_SQUARE,), _over_last_axis)
_DEVIATION = Op("Sqrt", (Op("Add", (_VARIANCE, Scalar("epsilon"))),))
_STANDARDIZED = Op("Div", (_CENTERED, _DEVIATION))
_LAYER_NORM = Op("Add", (Op("Mul", (_STANDARDIZED, Weight("weight", 1))), Weight("bias", 1)))
_LINEAR = Op("Add", (Op("MatMul", ("x", Weight("weight", 2))), Weight("bias", 1)))

REWRITES: tuple[Rewrite, ...] = (
    Rewrite("LayerNormalization", _LAYER_NORM, ("x", "weight", "bias"), _epsilon),
    *_ways(
        "HardSwish",
        Op("Mul", ("x", Op("HardSigmoid", ("x",), _is_torchs))),
        Op("Mul", ("x", Op("Mul", (_CLIPPED, Number(1 / 6))))),
        Op("Mul", ("x", Op("Div", (_CLIPPED, Number(6.0))))),
        Op("Div", (Op("Mul", ("x", _CLIPPED)), Number(6.0))),
        Op("Mul", (Op("Mul", ("x", _CLIPPED)), Number(1 / 6))),
    ),
    *(
        Rewrite("HardSigmoid", tree, ("x",), lambda graph, match: {"alpha": 1 / 6, "beta": 0.5})
        for tree in (Op("Div", (_CLIPPED, Number(6.0))), Op("Mul", (_CLIPPED, Number(1 / 6))))
    ),
    *_gelu(_NORMAL),
    *_gelu(_NEARLY_NORMAL, approximate="tanh"),
    *_ways("Swish", Op("Mul", ("x", Op("Sigmoid", ("x",))))),
    *_ways("Mish", Op("Mul", ("x", Op("Tanh", (Op("Softplus", ("x",)),))))),
    Rewrite("qdiag.Linear", _LINEAR, ("x", "weight", "bias")),
)
