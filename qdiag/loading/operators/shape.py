"""What moves, selects or repeats values."""

import math
from typing import Any

import torch
from torch import nn

from qdiag.loading.conversion import Converter, Operands, Ref, Step
from qdiag.loading.modules import (
    Cat,
    DepthToSpace,
    Expand,
    Flip,
    Full,
    GatherND,
    Getitem,
    IndexSelect,
    Reshape,
    ScatterND,
    SpaceToDepth,
    Unsqueeze,
    operation,
)
from qdiag.loading.operators.edges import torch_order
from qdiag.loading.sizes import Count, ShapeOf

PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _reshape(node: Operands) -> Step:
    return node.step(Reshape(not node.get("allowzero", 0)), node.tensor(0), node.numbers(1, "shape"))


def _flatten(node: Operands) -> Step:
    """To a matrix: the axes before `axis`, and the others."""
    axis = node.get("axis", 1)
    if axis == 1:
        return node.step(nn.Flatten(1), node.tensor(0))
    if axis < 0:
        axis += node.rank()
    rows = math.prod(node.shape()[:axis])
    return node.step(Reshape(), node.tensor(0), [rows, -1])


def _transpose(node: Operands) -> Step:
    order = node.get("perm", list(range(node.rank()))[::-1])
    return node.step(operation("permute"), node.tensor(0), list(order))


def _squeeze(node: Operands) -> Step:
    axes = node.known(1, "axes") or [axis for axis, length in enumerate(node.shape()) if length == 1]
    return node.step(operation("squeeze"), node.tensor(0), tuple(map(int, axes)))


def _unsqueeze(node: Operands) -> Step:
    return node.step(Unsqueeze(), node.tensor(0), node.known(1, "axes"))


def _concat(node: Operands) -> Step:
    axis = node.get("axis", 1)
    parts = [node.tensor(i) for i in range(len(node)) if not _is_empty(node, i)]
    return node.step(Cat(axis), *parts)


def _is_empty(node: Operands, index: int) -> bool:
    constant = node.constant(index)
    return constant is not None and constant.numel() == 0


def _split(node: Operands) -> Step:
    """In parts of given lengths, in parts of one length, or in as many parts as there are results."""
    axis, length = node.get("axis", 0), node.shape()[node.get("axis", 0)]
    sizes: Any = node.known(1, "split") or node.get("lengths")
    if not sizes:
        sizes = -(-length // node.get("num_outputs", len(node.node.outputs)))
    if isinstance(sizes, int):
        sizes = [min(sizes, length - start) for start in range(0, length, sizes)]
    if len(sizes) == 1:
        return node.step(nn.Identity(), node.tensor(0))
    outputs = (*node.node.outputs, *[""] * (len(sizes) - len(node.node.outputs)))  # what nobody takes
    args = (node.tensor(0), [int(size) for size in sizes], axis)
    return Step(node.node.output or f"{node.node.inputs[0]}_split", node.node, operation("split"), args, outputs)


def _slicing(node: Operands) -> Step:
    """Parts along axes; those that go backwards are picked by index, and a whole axis is turned round."""
    starts, ends = node.numbers(1, "starts"), node.numbers(2, "ends")
    axes = node.known(3, "axes")
    assert starts is not None, "a Slice has starts"
    count = len(starts) if not isinstance(starts, Ref) else len(node.values[starts.name])
    axes = list(range(count)) if axes is None else [int(axis) for axis in axes]
    steps = [int(step) for step in node.known(4) or [1] * count]
    if any(step < 0 for step in steps):
        return _backwards(node, axes, steps)
    return node.step(Getitem(), node.tensor(0), starts, ends, axes, steps)


def _backwards(node: Operands, axes: list[int], steps: list[int]) -> Step:
    shape, starts, ends = node.shape(), node.known(1, "starts") or [], node.known(2, "ends") or []
    places = {
        axis % len(shape): _range(int(start), int(end), step, shape[axis])
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }
    if all(list(range(shape[axis]))[::-1] == picked for axis, picked in places.items()):
        return node.step(Flip(list(places)), node.tensor(0))
    x, (last, *others) = node.tensor(0), places
    for axis in others:
        x = node.before(IndexSelect(axis), x, node.numbers_as_constant(places[axis]), suffix=f"axis{axis}")
    return node.step(IndexSelect(last), x, node.numbers_as_constant(places[last]))


def _range(start: int, end: int, step: int, length: int) -> list[int]:
    """The places that ONNX's slice names: an end below -length is one before the first."""
    stop = None if step < 0 and end < -length else end
    return list(range(length))[slice(start, stop, step)]


def _gather(node: Operands) -> Step:
    """Entries along an axis; one number takes the axis away."""
    axis, index = node.get("axis", 0), node.constant(1)
    if index is not None and index.ndim == 0:
        return node.step(operation("select"), node.tensor(0), axis, int(index))
    if index is not None and node.shape() == [index.numel()] and bool((index.flatten().diff() == 1).all()):
        return node.step(Reshape(), node.tensor(0), list(index.shape))  # each value once, in order
    return node.step(IndexSelect(axis), node.tensor(0), node.tensor(1))


def _gather_elements(node: Operands) -> Step:
    return node.step(operation("gather"), node.tensor(0), node.get("axis", 0), node.tensor(1))


def _gather_nd(node: Operands) -> Step:
    if node.get("batch_dims", 0):
        node.refuse("takes entries of every image by indices of its own")
    return node.step(GatherND(), node.tensor(0), node.tensor(1))


def _scatter_nd(node: Operands) -> Step:
    if node.get("reduction", "none") != "none":
        node.refuse("adds to, or multiplies, what it overwrites")
    return node.step(ScatterND(), node.tensor(0), node.tensor(1), node.tensor(2))


def _scatter_elements(node: Operands) -> Step:
    if node.get("reduction", "none") != "none":
        node.refuse("adds to, or multiplies, what it overwrites")
    return node.step(operation("scatter"), node.tensor(0), node.get("axis", 0), node.tensor(1), node.tensor(2))


def _expand(node: Operands) -> Step:
    return node.step(Expand(), node.tensor(0), node.numbers(1))


def _tile(node: Operands) -> Step:
    repeats = node.known(1)
    return node.step(operation("tile"), node.tensor(0), [int(count) for count in repeats or ()])


def _pad(node: Operands) -> Step:
    """Values at the edges: a number, or the image's own."""
    pads = node.known(1, "pads")
    assert pads is not None, "a Pad has pads"
    axes = node.known(3)
    rank = node.rank()
    before, after = [0] * rank, [0] * rank
    half = len(pads) // 2
    for position, axis in enumerate(axes if axes is not None else range(rank)):
        before[int(axis)], after[int(axis)] = int(pads[position]), int(pads[half + position])
    while before and before[0] == after[0] == 0:
        before, after = before[1:], after[1:]
    mode = node.get("mode", "constant")
    if mode != "constant":
        return node.step(operation("pad"), node.tensor(0), torch_order(before, after), PAD_MODES[mode])
    value: Any = node.get("value", 0.0) if not node.has(2) else node.constant(2)
    if value is None:
        node.refuse("pads with a value that is computed")
    return node.step(operation("pad"), node.tensor(0), torch_order(before, after), "constant", float(value))


def _depth_to_space(node: Operands) -> Step:
    block = node.get("blocksize")
    module = nn.PixelShuffle(block) if node.get("mode", "DCR") == "CRD" else DepthToSpace(block)
    return node.step(module, node.tensor(0))


def _space_to_depth(node: Operands) -> Step:
    return node.step(SpaceToDepth(node.get("blocksize")), node.tensor(0))


def _shape_of(node: Operands) -> Step:
    return node.step(ShapeOf(node.get("start", 0), node.get("end")), node.tensor(0))


def _size_of(node: Operands) -> Step:
    return node.step(Count(), node.tensor(0))


def _constant_of_shape(node: Operands) -> Step:
    value = node.get("value", torch.zeros(1))
    return node.step(Full(value.item(), value.dtype), node.numbers(0))


def _identity(node: Operands) -> Step:
    return node.step(nn.Identity(), node.tensor(0))


def _trilu(node: Operands) -> Step:
    offset = node.known(1) or [0]
    return node.step(operation("triu" if node.get("upper", 1) else "tril"), node.tensor(0), int(offset[0]))


def _cumulative_sum(node: Operands) -> Step:
    if node.get("exclusive") or node.get("reverse"):
        node.refuse("sums backwards, or without the value itself")
    axis = node.known(1)
    return node.step(operation("cumsum"), node.tensor(0), int((axis or [0])[0]))


def _einsum(node: Operands) -> Step:
    return node.step(operation("einsum"), node.get("equation"), *(node.tensor(i) for i in range(len(node))))


OPERATORS: dict[str, Converter] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slicing,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "Expand": _expand,
    "Tile": _tile,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Shape": _shape_of,
    "Size": _size_of,
    "ConstantOfShape": _constant_of_shape,
    "Identity": _identity,
    "Trilu": _trilu,
    "CumSum": _cumulative_sum,
    "Einsum": _einsum,
}
