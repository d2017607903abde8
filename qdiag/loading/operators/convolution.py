"""Conv, ConvTranspose, Gemm and MatMul: the layers with weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from qdiag.loading.conversion import Converter, Operands, Ref, Step
from qdiag.loading.modules import Conv, SamePad, operation
from qdiag.loading.operators.edges import Edges, edges_of

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def _conv(node: Operands) -> Step:
    """A convolution of 1 to 3 axes; padding that differs from side to side comes before it."""
    weight = node.constant(1)
    shape = node.shape(1)
    axes = len(shape) - 2
    stride, dilation = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    edges = edges_of(node, axes)
    x, padding = padded(node, edges, shape[2:], stride, dilation)
    if weight is None:
        rest = [node.tensor(i) for i in range(1, len(node)) if node.has(i)]
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": node.get("group", 1)}
        return node.step(Conv(**options), x, *rest)
    groups = node.get("group", 1)
    module = CONVOLUTIONS[axes](shape[1] * groups, shape[0], shape[2:], stride, padding, dilation, groups, bias=False)
    return node.step(_with_weights(module, node), x)


def padded(
    node: Operands,
    edges: Edges,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    mode: str = "constant",
) -> tuple[Ref, list[int]]:
    """The input, behind a step that pads it where a layer cannot, and the padding that is left to the layer.

    mode: what to pad with: "constant" is zeros, "replicate" the values at the edge.
    """
    nothing = [0] * len(kernel)
    if edges.same:
        at_end = edges.same == "SAME_UPPER"
        module = SamePad(kernel, stride, dilation, mode, at_end=at_end)
        return node.before(module, node.tensor(0), suffix="pad"), nothing
    if edges.before != edges.after:
        return node.before(operation("pad"), node.tensor(0), edges.of_torch(), mode, suffix="pad"), nothing
    return node.tensor(0), edges.before


def _with_weights(module: Any, node: Operands) -> nn.Module:
    module.weight = node.parameter(1)
    if node.has(2) and not _is_filler(node, 2):
        module.bias = node.parameter(2)
        if module.bias is None:
            node.refuse("has a bias that is computed, beside a weight that is not")
    return module


def _is_filler(node: Operands, index: int) -> bool:
    """True for zeros that are no initializer: an exporter puts them where the layer has no bias."""
    value = node.constant(index)
    return value is not None and node.node.inputs[index] not in node.graph.parameters and not bool(value.any())


def _conv_transpose(node: Operands) -> Step:
    """A transposed convolution; padding that differs from side to side is refused."""
    if node.constant(1) is None:
        node.refuse("has a weight that is computed")
    if node.get("output_shape") is not None:
        node.refuse("gives an output_shape in place of its padding")
    shape = node.shape(1)
    axes = len(shape) - 2
    edges = edges_of(node, axes)
    stride, extra = node.get("strides", [1] * axes), node.get("output_padding", [0] * axes)
    if edges.same:
        node.refuse("has auto_pad SAME")
    less = [start - end for start, end in zip(edges.before, edges.after, strict=True)]
    extra = [own + more for own, more in zip(extra, less, strict=True)]
    if min(less) < 0 or any(more >= step for more, step in zip(extra, stride, strict=True)):
        node.refuse("pads its two sides differently")
    groups = node.get("group", 1)
    module = TRANSPOSED[axes](
        shape[0], shape[1] * groups, shape[2:], stride, edges.before, extra, groups, False, node.get("dilations", 1)
    )
    return node.step(_with_weights(module, node), node.tensor(0))


def _gemm(node: Operands) -> Step:
    """A fully connected layer where its matrix is a constant; alpha and beta go into weight and bias."""
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or node.get("transA") or (node.has(2) and (bias is None or bias.ndim > 1)):
        return _computed_gemm(node, alpha, beta)
    transposed = weight if node.get("transB") else weight.t()
    if bias is not None and bias.numel() not in (1, len(transposed)):
        node.refuse(f"has a bias of {bias.numel()} values for {len(transposed)} outputs")
    offset = None if bias is None else (bias * beta).reshape(-1).expand(len(transposed))
    own = node.parameter(1) if transposed is weight and alpha == 1.0 else None
    return node.step(linear(transposed * alpha, offset, own), node.tensor(0))


def linear(weight: Any, bias: Any, own: nn.Parameter | None = None) -> nn.Linear:
    """nn.Linear of a matrix [outputs, inputs] and a bias."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    module.weight = own if own is not None else nn.Parameter(weight.contiguous())
    if bias is not None:
        module.bias = nn.Parameter(bias.contiguous())
    return module


def _computed_gemm(node: Operands, alpha: float, beta: float) -> Step:
    a, b = node.tensor(0), node.tensor(1)
    if node.get("transA"):
        a = node.before(operation("permute"), a, [1, 0], suffix="a")
    if node.get("transB"):
        b = node.before(operation("permute"), b, [1, 0], suffix="b")
    if alpha != 1.0:
        a = node.before(operation("mul"), a, alpha, suffix="alpha")
    if not node.has(2):
        return node.step(operation("matmul"), a, b)
    product = node.before(operation("matmul"), a, b, suffix="product")
    c = node.tensor(2)
    if beta != 1.0:
        c = node.before(operation("mul"), c, beta, suffix="beta")
    return node.step(operation("add"), product, c)


def _matmul(node: Operands) -> Step:
    """A fully connected layer without bias where the second factor is a constant matrix."""
    weight = node.constant(1)
    if weight is not None and weight.ndim == 2:
        return node.step(linear(weight.t(), None), node.tensor(0))
    return node.step(operation("matmul"), node.tensor(0), node.tensor(1))


def _linear_with_bias(node: Operands) -> Step:
    """MatMul and the Add of its bias, which `rewriting` has joined."""
    weight, bias = node.constant(1), node.constant(2)
    assert weight is not None, "joined for its constant matrix"
    assert bias is not None, "joined for its constant bias"
    return node.step(linear(weight.t(), bias.reshape(-1)), node.tensor(0))


OPERATORS: dict[str, Converter] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "qdiag.Linear": _linear_with_bias,
}
