"""QD403."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule

ATTENTION = ("multi_head_attention_forward", "scaled_dot_product_attention")


class InnerSoftmax(Rule):
    """A softmax, or an attention with one in it, with further layers behind it.

    **Why it hurts.** Softmax turns differences into ratios: an error of one level at its input multiplies its output by
    e^scale. Its outputs pile up near zero, where a linear 8-bit format has few levels, and a product of two computed
    tensors follows, each with an error of its own. A softmax at the very end of the network is harmless, since it does
    not change which class is largest.

    **Fix.** Leave attention in float or 16 bits, or take a convolutional backbone for the parts that have to be 8-bit.

    **Reference.** Lin et al., FQ-ViT, arXiv:2111.13824 (softmax in powers of two). Kim et al., I-BERT,
    arXiv:2101.01321.
    """

    code = "QD403"
    name = "inner-softmax"
    title = "softmax or attention inside the network"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for call in context.features:
            if call.op in (*ATTENTION, "softmax", "log_softmax") and context.feeds_weights(call):
                why = f"`{call.op}` inside the network: its small outputs get few of the levels of a linear format."
                yield self.finding(call, why, _FIX, cause="softmax")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.query = nn.Linear(8, 8)
                self.softmax = nn.Softmax(dim=-1)
                self.head = nn.Linear(8, 2)

            def forward(self, x: Tensor) -> Tensor:
                x = self.softmax(self.query(x))  # <-
                return self.head(x)

        return Example(Net(), torch.zeros(1, 8), sites=("softmax",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.query = nn.Linear(8, 8)
                self.relu = nn.ReLU()
                self.head = nn.Linear(8, 2)
                self.softmax = nn.Softmax(dim=-1)  # at the end it does no harm

            def forward(self, x: Tensor) -> Tensor:
                x = self.relu(self.query(x))
                return self.softmax(self.head(x))

        return Example(Net(), torch.zeros(1, 8))


_FIX = "quantized = calibrate(model, loader, bits={'*attn*': 16, '*': 8})  # by the names of your attention modules"
