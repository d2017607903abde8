"""QD104."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.trace import Call


class UnmergeableBatchNorm(Rule):
    """A BatchNorm that does not directly follow a convolution or linear layer.

    **Why it hurts.** A BatchNorm that follows a convolution is merged into its weights and disappears. Anywhere else,
    after an activation, a sum, a concat or the input, it stays a layer of its own: one more tensor to round, whose
    channels are multiplied by factors that may lie far apart while they share one power-of-two scale.

    **Fix.** Order the layers as convolution, BatchNorm, activation. Pre-activation designs (DenseNet, ResNet v2) are
    harder in 8 bits for this reason; keep these layers in 16 bits where a comparison shows that they lose accuracy.

    **Reference.** Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, arXiv:1712.05877, section 3.2 (merging). TI, "Quantization" (edgeai-torchvision docs).
    """

    code = "QD104"
    name = "unmergeable-batchnorm"
    title = "BatchNorm that is not right after a convolution"
    severity = "warning"

    def inapplicable(self, context: LintContext) -> str:
        return "" if any(call.kind is OperationKind.NORM for call in context.features) else "the model has no BatchNorm"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            if (
                call.kind is OperationKind.NORM
                and call.site not in context.merged_sites
                and not uses_batch_statistics(call)
            ):
                channels = call.inputs[0].shape[1]
                why = f"This BatchNorm of {channels} channels {_position(context, call)}, and stays a layer of its own."
                yield self.finding(call, why, _FIX)

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, bias=False)
                self.relu = nn.ReLU()
                self.bn = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                x = self.relu(self.conv(x))
                return self.bn(x)  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("bn",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, bias=False)
                self.bn = nn.BatchNorm2d(8)
                self.relu = nn.ReLU()

            def forward(self, x: Tensor) -> Tensor:
                return self.relu(self.bn(self.conv(x)))

        return Example(Net(), torch.zeros(1, 3, 8, 8))


_FIX = "x = self.relu(self.bn(self.conv(x)))  # convolution, BatchNorm, activation; then train again"


def uses_batch_statistics(call: Call) -> bool:
    """A BatchNorm that has no running statistics, or does not use them in eval mode."""
    return (
        call.tensor("running_mean") is None
        or call.tensor("running_var") is None
        or bool(call.arguments.get("training"))
    )


def _position(context: LintContext, call: Call) -> str:
    before = context.trace.producer(call.inputs[0])
    if before is None:
        return "is applied to the network's input"
    if before.kind is OperationKind.WEIGHTED:
        others = [f"`{other.op}`" for other in context.trace.consumers(call.inputs[0]) if other.site != call.site]
        return f"shares the result of `{before.op}` with {', '.join(others) or 'the output of the model'}"
    return f"follows `{before.op}`"
