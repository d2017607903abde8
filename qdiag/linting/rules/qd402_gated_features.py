"""QD402."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.trace import Call

GATES = ("sigmoid", "hardsigmoid")


class GatedFeatures(Rule):
    """Features multiplied by a sigmoid of other features, as in squeeze-and-excitation.

    **Why it hurts.** The product carries the rounding errors of both factors. A gate near zero leaves its channel a few
    levels of the product's one scale, and the gate itself comes from global means, that is, from one number for each
    channel, whose error then multiplies the whole channel.

    **Fix.** Leave the gate out and train again, as EfficientNet-Lite, the "lite" form of MobileNetV3 and RegNetX
    (against RegNetY) do. Where it has to stay, keep the gate's layers in 16 bits; they are small.

    **Reference.** Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507. TI's "lite" models (edgeai-torchvision
    docs), which have none. Radosavovic et al., arXiv:2003.13678 (RegNetX).
    """

    code = "QD402"
    name = "gated-features"
    title = "features multiplied by a sigmoid (squeeze-and-excitation)"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            gate = _gate_of(context, call)
            if gate is not None:
                why = f"The features are multiplied by `{gate.op}` of other features: each carries the other's error."
                yield self.finding(call, why, _FIX, cause="gate")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.pool = nn.AdaptiveAvgPool2d(1)
                self.fc = nn.Conv2d(8, 8, 1)
                self.gate = nn.Sigmoid()

            def forward(self, x: Tensor) -> Tensor:
                return x * self.gate(self.fc(self.pool(x)))  # <-

        return Example(Net(), torch.zeros(1, 8, 8, 8), sites=(":mul",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.bn = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
                self.relu = nn.ReLU()

            def forward(self, x: Tensor) -> Tensor:
                return self.relu(self.bn(self.conv(x)))

        return Example(Net(), torch.zeros(1, 8, 8, 8))


_FIX = "x = self.block(x)  # without the gate; or keep its layers in 16 bits: bits={'*se*': 16, '*': 8}"


def _gate_of(context: LintContext, call: Call) -> Call | None:
    """The sigmoid among the factors of a product of two features, unless it is x * sigmoid(x)."""
    if call.op != "mul" or len(call.activations) != 2:
        return None
    for value, other in zip(call.activations, reversed(call.activations), strict=True):
        maker = context.trace.producer(value)
        if maker is None or maker.op not in GATES or not context.is_feature(value):
            continue
        if maker.inputs[0].number != other.number:
            return maker
    return None
