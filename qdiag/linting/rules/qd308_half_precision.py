"""QD308."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule

HALF = (torch.float16, torch.bfloat16)


class HalfPrecision(Rule):
    """A model whose weights are float16 or bfloat16.

    **Why it hurts.** bfloat16 has 8 significant bits and float16 has 11: the "float" reference is itself as coarse as
    what it is compared with, and a 16-bit fixed-point tensor may be the more exact of the two.

    **Fix.** Convert to float32, best from the float32 master weights of the training.

    **Reference.** Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, arXiv:1905.12322.
    """

    code = "QD308"
    name = "half-precision"
    title = "weights in float16 or bfloat16"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for name, tensor in context.tensors.items():
            if tensor.dtype in HALF:
                why = f"Weights are {str(tensor.dtype).removeprefix('torch.')}, which is no reference for fixed point."
                yield self.finding(name, why, "model = model.float()", cause=str(tensor.dtype))

    @staticmethod
    def bad() -> Example:
        net = _Net().bfloat16()
        return Example(net, torch.zeros(1, 3, 8, 8, dtype=torch.bfloat16), sites=("conv.weight", "conv.bias"))

    @staticmethod
    def good() -> Example:
        return Example(_Net(), torch.zeros(1, 3, 8, 8))


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)
