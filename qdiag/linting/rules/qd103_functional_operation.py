"""QD103."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.blocks import AddBlock
from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Call


class FunctionalOperation(Rule):
    """An operation written as a function or operator where a module belongs.

    **Why it hurts.** A sum, a concat or an activation makes a tensor with a range of its own. A module gives that range
    an owner with a name: a place to keep it, to set it to 16 bits, to freeze it. qdiag sees functions too, and names
    them after the module around them (`layer1.0:add`), but the name changes with the code, and tools that hook modules
    see nothing: they leave the tensor in float, or give it the range of its neighbour.

    **Fix.** `AddBlock` for `+`, `MulBlock` for `*`, `CatBlock` for `torch.cat`, `ResizeWith` for `F.interpolate`, and
    torch's own modules for the rest, one instance for each use; `fix_model` does it on a copy. What keeps the range
    (flatten, max pooling, dropout, resizing) is harmless as it is, and so is arithmetic with a plain number.

    **Reference.** TI, "Quantization" (edgeai-torchvision, docs/pixel2pixel/Quantization.md): modules instead of
    functionals or tensor operations.
    """

    code = "QD103"
    name = "functional-operation"
    title = "function or operator where a module belongs"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        owned = context.merged_sites | _operations_alone_in_a_module(context)
        for call in context.features:
            if not call.is_functional or call.site in owned or _is_torchs(context, call):
                continue
            if call.kind is OperationKind.SAME_RANGE or call.op in ("interpolate", "upsample"):
                if call.op in _MODULES:
                    why = "These operations keep the range, so that it does not matter how they are written."
                    yield self.finding(call, why, _fix(call), severity="note", cause="same range")
            elif call.kind is OperationKind.ELEMENTWISE and len(call.inputs) == 1:
                why = "Arithmetic with a plain number, which only scales or shifts the range."
                yield self.finding(call, why, _FOLD, severity="note", cause="numbers")
            elif not context.feeds_weights(call):
                why = "Behind the last layer with weights, where post-processing is mostly done in float."
                yield self.finding(call, why, _fix(call), severity="note", cause="behind the last layer")
            elif call.kind is not OperationKind.RESIZE:
                file = call.source.file if call.source else ""
                yield self.finding(call, _why(call), _fix(call), cause=f"{call.op} in {file}")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x: Tensor) -> Tensor:
                y = self.bn(self.conv(x))
                y = F.relu(x + y)  # <-
                return self.head(y)

        return Example(Net(), torch.zeros(1, 8, 8, 8), sites=(":add", ":relu"))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
                self.add = AddBlock()
                self.relu = nn.ReLU()
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x: Tensor) -> Tensor:
                y = self.bn(self.conv(x))
                y = self.relu(self.add(x, y))
                return self.head(y)

        return Example(Net(), torch.zeros(1, 8, 8, 8))


# The module for a function; {0} is its first option.
_MODULES = {
    "relu": "nn.ReLU()",
    "relu6": "nn.ReLU6()",
    "leaky_relu": "nn.LeakyReLU({0})",
    "prelu": "nn.PReLU()",
    "hardtanh": "nn.Hardtanh({0})",
    "clamp": "nn.Hardtanh(low, high)",
    "clip": "nn.Hardtanh(low, high)",
    "clamp_min": "nn.ReLU()",
    "sigmoid": "nn.Sigmoid()",
    "hardsigmoid": "nn.Hardsigmoid()",
    "tanh": "nn.Tanh()",
    "silu": "nn.SiLU()",
    "hardswish": "nn.Hardswish()",
    "gelu": "nn.GELU()",
    "elu": "nn.ELU()",
    "mish": "nn.Mish()",
    "softmax": "nn.Softmax(dim=1)",
    "add": "AddBlock()",
    "mul": "MulBlock()",
    "cat": "CatBlock()",
    "concat": "CatBlock()",
    "interpolate": "ResizeWith(…)",
    "upsample": "ResizeWith(…)",
    "mean": "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))",
    "avg_pool2d": "nn.AvgPool2d({0})",
    "adaptive_avg_pool1d": "nn.AdaptiveAvgPool1d({0})",
    "adaptive_avg_pool2d": "nn.AdaptiveAvgPool2d({0})",
    "adaptive_avg_pool3d": "nn.AdaptiveAvgPool3d({0})",
    "max_pool2d": "nn.MaxPool2d({0})",
    "adaptive_max_pool2d": "nn.AdaptiveMaxPool2d({0})",
    "flatten": "nn.Flatten({0})",
    "dropout": "nn.Dropout({0})",
    "dropout2d": "nn.Dropout2d({0})",
    "pixel_shuffle": "nn.PixelShuffle({0})",
    "layer_norm": "nn.LayerNorm({0})",
    "group_norm": "nn.GroupNorm({0}, …)",
    "batch_norm": "nn.BatchNorm2d(…)",
    "linear": "nn.Linear(…)",
    "conv1d": "nn.Conv1d(…)",
    "conv2d": "nn.Conv2d(…)",
    "conv3d": "nn.Conv3d(…)",
}

_OWN_MODULE = """\
class {kind}(nn.Module):
    def forward(self, x, y):
        return torch.{op}(x, y)

self.{op} = {kind}()  # in __init__, one for each use
x = self.{op}(x, y)  # in forward"""

_FOLD = "# nothing to do; or fold the number into the weights before or after it"


def _why(call: Call) -> str:
    return (
        f"`{call.op}` is called as a function: the tensor it makes has a range of its own, and no module that keeps it."
    )


def _fix(call: Call) -> str:
    module = _MODULES.get(call.op)
    if module is None:
        kind = call.op.title().replace("_", "")
        return _OWN_MODULE.format(kind=kind, op=call.op)
    option = call.arguments.get(_FIRST_OPTION.get(call.op, ""), call.arguments.get("arg1", "…"))
    made = module.format(option)
    lines = [f"self.{call.op} = {made}  # in __init__, one for each use", f"x = self.{call.op}(…)  # in forward"]
    ours = made.partition("(")[0]
    return "\n".join([f"from qdiag import {ours}", *lines] if ours in _OURS else lines)


_OURS = ("AddBlock", "CatBlock", "ResizeWith")

_FIRST_OPTION = {
    "leaky_relu": "negative_slope",
    "hardtanh": "min_val",
    "flatten": "start_dim",
    "dropout": "p",
    "dropout2d": "p",
    "avg_pool2d": "kernel_size",
    "max_pool2d": "kernel_size",
}


def _operations_alone_in_a_module(context: LintContext) -> frozenset[Site]:
    """Operations that make up a whole module: a class with one sum in its forward owns that sum's range."""
    runs = Counter(use.path for use in context.trace.uses)
    changing = [call for call in context.features if call.kind is not OperationKind.SAME_RANGE]
    counts = Counter(call.site.path for call in changing)
    return frozenset(
        call.site
        for call in changing
        if call.site.path and call.site.path not in context.parents and counts[call.site.path] == runs[call.site.path]
    )


def _is_torchs(context: LintContext, call: Call) -> bool:
    """Part of a module of torch's own, as the attention inside nn.MultiheadAttention: the user did write a module."""
    return call.module_type.__module__.startswith("torch.nn.") and call.site.path not in context.parents
