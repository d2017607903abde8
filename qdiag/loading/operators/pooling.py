"""Windows without weights, and reductions over axes."""

from typing import Any

from torch import nn

from qdiag.loading.conversion import Converter, Operands, Ref, Step
from qdiag.loading.modules import operation
from qdiag.loading.operators.convolution import padded
from qdiag.loading.operators.edges import Edges, edges_of

MAX_POOLS: dict[int, Any] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE_POOLS: dict[int, Any] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
GLOBAL_AVERAGES = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
GLOBAL_MAXIMA = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}


def _max_pool(node: Operands) -> Step:
    """Largest values; padding that differs from side to side comes before it, as the values at the edge.

    A window that reaches beyond the edge holds it as well, so that its copies change nothing, nor a tensor's range.
    """
    if len(node.node.outputs) > 1 and node.node.outputs[1]:
        node.refuse("gives the places of its largest values, beside the values")
    kernel = node.get("kernel_shape")
    stride, dilation = node.get("strides", [1] * len(kernel)), node.get("dilations", [1] * len(kernel))
    edges = edges_of(node, len(kernel))
    if any(length != 1 for length in dilation) and (edges.same or edges.before != edges.after):
        node.refuse("pads its two sides differently around a window with holes")
    x, padding = padded(node, edges, kernel, stride, dilation, "replicate")
    make = MAX_POOLS[len(kernel)]
    return node.step(make(kernel, stride, padding, dilation, ceil_mode=bool(node.get("ceil_mode", 0))), x)


def _average_pool(node: Operands) -> Step:
    """Means; padding that differs from side to side only where its zeros count."""
    kernel = node.get("kernel_shape")
    axes = len(kernel)
    stride, counts_zeros = node.get("strides", [1] * axes), bool(node.get("count_include_pad", 0))
    if any(length != 1 for length in node.get("dilations", [1])):
        node.refuse("is an average over a window with holes")
    edges = edges_of(node, axes)
    ceil = bool(node.get("ceil_mode", 0))
    if (edges.same or edges.before != edges.after) and not counts_zeros:
        return _uneven_average(node, edges, kernel, stride)
    x, padding = padded(node, edges, kernel, stride, [1] * axes)
    return node.step(AVERAGE_POOLS[axes](kernel, stride, padding, ceil, counts_zeros), x)


def _uneven_average(node: Operands, edges: Edges, kernel: list[int], stride: list[int]) -> Step:
    """An average that pads its end alone: windows that reach beyond the image, as torch has them where it rounds up.

    For images of the file's size, as it depends on that where the last window begins. One window that holds the whole
    image is its mean.
    """
    lengths = node.shape()[2:]
    before, after = edges.of(lengths, kernel, stride)
    windows = list(zip(lengths, before, after, kernel, stride, strict=True))
    wanted = [(length + b + a - k) // s + 1 for length, b, a, k, s in windows]
    found = [-(-(length + 2 * b - k) // s) + 1 for length, b, _, k, s in windows]
    reaching = [(count - 1) * s < length + b for count, (length, b, _, _, s) in zip(found, windows, strict=True)]
    if all(count == 1 and length + b <= k for count, (length, b, _, k, _) in zip(wanted, windows, strict=True)):
        return node.step(GLOBAL_AVERAGES[len(kernel)](1), node.tensor(0))
    is_fixed = all(None not in given.shape[1:] for given in node.graph.inputs)
    if not is_fixed or wanted != found or not all(reaching) or any(2 * b > k for _, b, _, k, _ in windows):
        node.refuse("pads its two sides differently and leaves the zeros out of its means")
    return node.step(AVERAGE_POOLS[len(kernel)](kernel, stride, before, True, False), node.tensor(0))


def _whole(modules: dict[int, Any]) -> Converter:
    """Over all of the image."""
    return lambda node: node.step(modules[node.rank() - 2](1), node.tensor(0))


def _reduction(name: str) -> Converter:
    """Over some axes; over all where the file names none."""

    def convert(node: Operands) -> Step:
        axes = node.known(1, "axes")
        if not axes and node.get("noop_with_empty_axes"):
            return node.step(nn.Identity(), node.tensor(0))
        return node.step(operation(name), node.tensor(0), axes or _all(node), bool(node.get("keepdims", 1)))

    return convert


def _all(node: Operands) -> list[int]:
    return list(range(node.rank()))


def _norm(order: int) -> Converter:
    def convert(node: Operands) -> Step:
        axes = node.known(1, "axes") or _all(node)
        return node.step(operation("norm"), node.tensor(0), order, axes, bool(node.get("keepdims", 1)))

    return convert


def _sum_of_squares(node: Operands) -> Step:
    squares = node.before(operation("mul"), node.tensor(0), node.tensor(0), suffix="squares")
    axes = node.known(1, "axes") or _all(node)
    return node.step(operation("sum"), squares, axes, bool(node.get("keepdims", 1)))


def _product(node: Operands) -> Step:
    """Along one axis after the other."""
    axes = sorted((int(axis) % node.rank() for axis in node.known(1, "axes") or _all(node)), reverse=True)
    keep = bool(node.get("keepdims", 1))
    x = node.tensor(0)
    for axis in axes[:-1]:
        x = node.before(operation("prod"), x, axis, keep, suffix=f"axis{axis}")
    return node.step(operation("prod"), x, axes[-1], keep)


def _place(name: str) -> Converter:
    """Where the largest or smallest value is."""

    def convert(node: Operands) -> Step:
        if node.get("select_last_index"):
            node.refuse("takes the last of several equal values")
        return node.step(operation(name), node.tensor(0), node.get("axis", 0), bool(node.get("keepdims", 1)))

    return convert


def _top_k(node: Operands) -> Step:
    count: Any = node.numbers(1, "k")
    count = count if isinstance(count, Ref) else int(count[0])
    if isinstance(count, Ref):
        node.refuse("takes as many values as a tensor's shape says")
    largest = bool(node.get("largest", 1))
    args = (node.tensor(0), count, node.get("axis", -1), largest, True)
    outputs = (*node.node.outputs, "")[:2]
    return Step(node.node.output, node.node, operation("topk"), args, outputs)


OPERATORS: dict[str, Converter] = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _whole(GLOBAL_AVERAGES),
    "GlobalMaxPool": _whole(GLOBAL_MAXIMA),
    "ReduceMean": _reduction("mean"),
    "ReduceSum": _reduction("sum"),
    "ReduceMax": _reduction("amax"),
    "ReduceMin": _reduction("amin"),
    "ReduceLogSumExp": _reduction("logsumexp"),
    "ReduceL1": _norm(1),
    "ReduceL2": _norm(2),
    "ReduceSumSquare": _sum_of_squares,
    "ReduceProd": _product,
    "ArgMax": _place("argmax"),
    "ArgMin": _place("argmin"),
    "TopK": _top_k,
}
