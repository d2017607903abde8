"""QD401."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.trace import Call


class HardActivation(Rule):
    """An activation function that 8 bits represent badly: SiLU (Swish), Hardswish, GELU, Mish, ELU and their kin.

    **Why it hurts.** They let a little of the negative side through, at most -0.28 for SiLU and -0.38 for Hardswish,
    beside positive values as large as ReLU's. The output turns signed, which costs one bit, and under one power-of-two
    scale for the whole tensor the small negative part, which the next layers were trained on, is a handful of levels.
    ReLU and ReLU6 are also merged into the convolution, where these are a layer of their own and one more rounding.

    **Fix.** ReLU or ReLU6, and train again: EfficientNet-Lite, MobileNetV2, RegNetX and the "lite" variants of
    detectors are made that way. Where the network has to stay, plan QAT, or 16 bits for the worst layers.

    **Reference.** Howard et al., Searching for MobileNetV3, arXiv:1905.02244, section 5.2 (precision of Swish in fixed
    point). Krishnamoorthi, arXiv:1806.08342. Radosavovic et al., RegNetX, arXiv:2003.13678, which TI recommends.
    """

    code = "QD401"
    name = "hard-activation"
    title = "activation function that is hard in 8 bits"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            op = "silu" if _is_written_out_silu(context, call) else call.op
            if op in _HARD and context.feeds_weights(call):
                why = f"`{op}`, {_HARD[op]}: signed, with a negative part that is a few levels in 8 bits."
                yield self.finding(call, why, _fix(call), cause=op)

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.act = nn.SiLU()
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x: Tensor) -> Tensor:
                x = self.act(self.bn(self.conv(x)))  # <-
                return self.head(x)

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("act",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
                self.act = nn.ReLU6()
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x: Tensor) -> Tensor:
                x = self.act(self.bn(self.conv(x)))
                return self.head(x)

        return Example(Net(), torch.zeros(1, 3, 8, 8))


_HARD = {
    "silu": "also known as Swish",
    "swish": "also known as SiLU",
    "hardswish": "the piecewise form of Swish",
    "gelu": "as in transformers and ConvNeXt",
    "mish": "as in YOLOv4",
    "elu": "exponential on the negative side",
    "selu": "exponential on the negative side",
    "celu": "exponential on the negative side",
    "softplus": "a logarithm of an exponential",
}


def _is_written_out_silu(context: LintContext, call: Call) -> bool:
    """x * sigmoid(x)."""
    if call.op != "mul" or len(call.activations) != 2:
        return False
    makers = [context.trace.producer(value) for value in call.activations]
    return any(
        maker is not None and maker.op == "sigmoid" and maker.inputs[0].number == other.number
        for maker, other in zip(makers, reversed(call.activations), strict=True)
    )


def _fix(call: Call) -> str:
    name = call.site.path.rpartition(".")[2]
    return f"self.{name if name.isidentifier() else 'act'} = nn.ReLU()  # or nn.ReLU6(), and train again"
