"""QD404."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.tracing.operations import OperationKind


class LayerNormalization(Rule):
    """A normalization by statistics of the input itself: LayerNorm, GroupNorm, InstanceNorm, local response norm.

    **Why it hurts.** BatchNorm has constants and disappears into the convolution. These compute a mean and a variance
    for each image, from values that are already rounded, and divide by a square root: a layer of its own, often
    computed in float or 16 bits at a cost in time. What they are given is not normalized, and in transformers a few
    channels of it are tens of times larger than the rest, so that one scale for the tensor leaves the others few bits.

    **Fix.** BatchNorm, and train again; or keep these layers in 16 bits.

    **Reference.** Lin et al., FQ-ViT, arXiv:2111.13824 (power-of-two factors for LayerNorm's channels). Kim et al.,
    I-BERT, arXiv:2101.01321. Wu and He, Group Normalization, arXiv:1803.08494.
    """

    code = "QD404"
    name = "layer-normalization"
    title = "LayerNorm, GroupNorm or the like"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            is_output_scaling = call.op == "normalize" and not context.feeds_weights(call)
            if call.kind is OperationKind.NORMALIZE and not is_output_scaling:
                why = f"`{call.op}` computes its statistics from each image, and cannot be merged into a convolution."
                yield self.finding(call, why, _FIX, cause=call.op)

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)
                self.norm = nn.GroupNorm(2, 8)

            def forward(self, x: Tensor) -> Tensor:
                return self.norm(self.conv(x))  # <-

        return Example(Net(), torch.zeros(1, 3, 8, 8), sites=("norm",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3, bias=False)
                self.norm = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                return self.norm(self.conv(x))

        return Example(Net(), torch.zeros(1, 3, 8, 8))


_FIX = "self.norm = nn.BatchNorm2d(channels)  # right after the convolution, and train again"
