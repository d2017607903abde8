"""Functions that bend a range: each as the module that engines merge or look up."""

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from qdiag.loading.conversion import Converter, Operands, Step
from qdiag.loading.modules import Reshape, operation

SIXTH = 1 / 6


def _plain(make: Callable[[], nn.Module]) -> Converter:
    """A module without options."""
    return lambda node: node.step(make(), node.tensor(0))


def _with_alpha(make: Callable[[float], nn.Module], default: float) -> Converter:
    """A module with one number, which the file calls alpha."""
    return lambda node: node.step(make(node.get("alpha", default)), node.tensor(0))


def _clip(node: Operands) -> Step:
    """ReLU, ReLU6 or Hardtanh where the bounds say so; one-sided bounds as a clamp."""
    low, high = _bound(node, 1, "min", -math.inf), _bound(node, 2, "max", math.inf)
    x = node.tensor(0)
    if (low, high) == (0.0, math.inf):
        return node.step(nn.ReLU(), x)
    if (low, high) == (0.0, 6.0):
        return node.step(nn.ReLU6(), x)
    if math.isfinite(low) and math.isfinite(high) and low < high:
        return node.step(nn.Hardtanh(low, high), x)
    bounds = {"min": low, "max": high}
    return node.step(operation("clamp"), x, **{name: v for name, v in bounds.items() if math.isfinite(v)})


def _bound(node: Operands, index: int, name: str, default: float) -> float:
    found = node.get(name)
    if found is None and node.has(index):
        constant = node.constant(index)
        if constant is None:
            node.refuse("has bounds that are computed")
        found = constant.item()
    # The largest float32 stands for no bound.
    return default if found is None or abs(found) > 3.4e38 else float(found)


def _hard_sigmoid(node: Operands) -> Step:
    """Hardsigmoid where it is torch's own, x / 6 + 1/2; else as a sum that is clamped."""
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if abs(alpha - SIXTH) < 1e-4 and beta == 0.5:
        return node.step(nn.Hardsigmoid(), node.tensor(0))
    scaled = node.before(operation("mul"), node.tensor(0), alpha, suffix="mul")
    shifted = node.before(operation("add"), scaled, beta, suffix="add")
    return node.step(nn.Hardtanh(0.0, 1.0), shifted)


def _prelu(node: Operands) -> Step:
    """A slope for all values, or one for each channel."""
    slope = node.constant(1)
    if slope is None or (slope.numel() > 1 and slope.numel() != node.shape(0)[1]):
        node.refuse("has slopes that are neither one nor one for each channel")
    module = nn.PReLU(slope.numel())
    module.weight = nn.Parameter(slope.reshape(-1).clone())
    return node.step(module, node.tensor(0))


def _gelu(node: Operands) -> Step:
    return node.step(nn.GELU(node.get("approximate", "none")), node.tensor(0))


def _softmax(make: Callable[[int], nn.Module]) -> Converter:
    """Along one axis; before opset 13, over all axes from that one on."""

    def convert(node: Operands) -> Step:
        rank = node.rank()
        axis = node.get("axis", -1 if node.opset >= 13 else 1) % rank
        shape = node.shape()
        if node.opset >= 13 or math.prod(shape[axis + 1 :]) == 1:
            return node.step(make(axis - rank if axis == rank - 1 else axis), node.tensor(0))
        flat = node.before(operation("flatten"), node.tensor(0), axis, suffix="flat")
        made = node.before(make(-1), flat, suffix="softmax")
        return node.step(Reshape(), made, [0] * axis + shape[axis:])

    return convert


def _swish(node: Operands) -> Step:
    if node.get("alpha", 1.0) != 1.0:
        node.refuse("has an alpha other than 1")
    return node.step(nn.SiLU(), node.tensor(0))


def _thresholded(node: Operands) -> Step:
    return node.step(nn.Threshold(node.get("alpha", 1.0), 0.0), node.tensor(0))


def _softplus() -> Any:
    return nn.Softplus(threshold=100)  # torch gives x itself beyond 20, which differs from ONNX in the ninth digit


OPERATORS: dict[str, Converter] = {
    "Relu": _plain(nn.ReLU),
    "Sigmoid": _plain(nn.Sigmoid),
    "Tanh": _plain(nn.Tanh),
    "HardSwish": _plain(nn.Hardswish),
    "Selu": _plain(nn.SELU),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(nn.Softsign),
    "Mish": _plain(nn.Mish),
    "LeakyRelu": _with_alpha(nn.LeakyReLU, 0.01),
    "Elu": _with_alpha(nn.ELU, 1.0),
    "Celu": _with_alpha(nn.CELU, 1.0),
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "PRelu": _prelu,
    "Gelu": _gelu,
    "Swish": _swish,
    "ThresholdedRelu": _thresholded,
    "Softmax": _softmax(nn.Softmax),
    "LogSoftmax": _softmax(nn.LogSoftmax),
}
