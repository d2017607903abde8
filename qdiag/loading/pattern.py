"""Small trees of operators, to be found in a graph."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from torch import Tensor

from qdiag.loading.onnx_graph import Node, OnnxGraph

TOLERANCE = 1e-4
COMMUTATIVE = ("Add", "Mul")


@dataclass(frozen=True)
class Number:
    """A constant of one value."""

    value: float


@dataclass(frozen=True)
class Scalar:
    """A constant of one value, whatever it is, kept under a name."""

    name: str


@dataclass(frozen=True)
class Weight:
    """A constant of so many axes, kept under a name."""

    name: str
    axes: int


@dataclass(frozen=True)
class Either:
    """The first of several trees that is found."""

    trees: tuple["Tree", ...]


@dataclass(frozen=True)
class Op:
    """An operator with its inputs. holds: what has to be true of the node beside."""

    op: str
    inputs: tuple["Tree", ...]
    holds: Callable[[OnnxGraph, Node], bool] = lambda graph, node: True


Tree = str | Number | Scalar | Weight | Either | Op
"""A string stands for any tensor, the same one wherever it occurs."""


@dataclass(frozen=True)
class Match:
    """What was found: tensors by the tree's names, and the nodes, the last one first."""

    tensors: dict[str, str]
    nodes: tuple[Node, ...]


def find(graph: OnnxGraph, tree: Op, node: Node) -> Match | None:
    """The tree, if it ends with this node, and nothing else reads what is computed inside of it."""
    for found in _node(graph, tree, node, Match({}, ())):
        inside = [each for each in found.nodes if each is not node]
        read = [name for each in found.nodes for name in each.inputs]
        if all(graph.readers[name] == read.count(name) for each in inside for name in each.outputs):
            return found
    return None


def _tree(graph: OnnxGraph, tree: Tree, name: str, so_far: Match) -> Iterator[Match]:
    if isinstance(tree, Either):
        for one in tree.trees:
            yield from _tree(graph, one, name, so_far)
    elif isinstance(tree, Op):
        producer = graph.producers.get(name)
        if producer is not None:
            yield from _node(graph, tree, producer, so_far)
    elif isinstance(tree, str):
        if so_far.tensors.get(tree, name) == name and name not in graph.constants:
            yield Match(so_far.tensors | {tree: name}, so_far.nodes)
    elif _is_constant(tree, graph.constants.get(name)):
        kept = {} if isinstance(tree, Number) else {tree.name: name}
        yield Match(so_far.tensors | kept, so_far.nodes)


def _is_constant(tree: Any, value: Tensor | None) -> bool:
    if value is None:
        return False
    if isinstance(tree, Weight):
        return value.ndim == tree.axes
    if value.numel() != 1:
        return False
    return isinstance(tree, Scalar) or abs(value.item() - tree.value) <= TOLERANCE * abs(tree.value)


def _node(graph: OnnxGraph, tree: Op, node: Node, so_far: Match) -> Iterator[Match]:
    if node.op != tree.op or len(node.inputs) < len(tree.inputs) or not tree.holds(graph, node):
        return
    known = so_far.nodes if node in so_far.nodes else (*so_far.nodes, node)
    start = Match(so_far.tensors, known)
    given = node.inputs[: len(tree.inputs)]
    for order in permutations(given) if tree.op in COMMUTATIVE else (given,):
        yield from _inputs(graph, tree.inputs, order, start)


def _inputs(graph: OnnxGraph, trees: tuple[Tree, ...], names: tuple[str, ...], so_far: Match) -> Iterator[Match]:
    if not trees:
        yield so_far
        return
    for found in _tree(graph, trees[0], names[0], so_far):
        yield from _inputs(graph, trees[1:], names[1:], found)
