"""QD405."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule


class DepthwiseConvolution(Rule):
    """Depthwise convolutions: known to be sensitive, and no defect.

    **Why it matters.** A filter of nine weights for each channel gives every channel a range of its own, and averages
    few rounding errors. Most of what MobileNets lose in 8 bits, they lose here. It is a note: look at these layers
    first.

    **Fix.** Per-channel weights for them, where the target has that (`per_channel="depthwise"`); BatchNorm after each
    and weight decay on all; QAT where calibration is not enough. For a new design, RegNetX with its grouped
    convolutions loses far less.

    **Reference.** Sheng et al., A Quantization-Friendly Separable Convolution for MobileNets, arXiv:1803.08607. TI,
    "Quantization" (edgeai-torchvision docs), which recommends RegNetX, arXiv:2003.13678.
    """

    code = "QD405"
    name = "depthwise-convolution"
    title = "depthwise convolutions, which are sensitive"
    severity = "note"

    def check(self, context: LintContext) -> Iterator[Finding]:
        depthwise = [call for call in context.features if call.is_depthwise]
        for call in depthwise:
            why = f"{len(depthwise)} depthwise convolutions, known to be sensitive: watch them in a comparison."
            yield self.finding(call, why, _FIX, cause="depthwise")

    @staticmethod
    def bad() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(8, 8, 3, groups=8, bias=False)
                self.bn = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                return self.bn(self.conv(x))  # <-

        return Example(Net(), torch.zeros(1, 8, 8, 8), sites=("conv",))

    @staticmethod
    def good() -> Example:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(8, 8, 3, groups=2, bias=False)
                self.bn = nn.BatchNorm2d(8)

            def forward(self, x: Tensor) -> Tensor:
                return self.bn(self.conv(x))

        return Example(Net(), torch.zeros(1, 8, 8, 8))


_FIX = 'quantized = calibrate(model, loader, bits=8, per_channel="depthwise")  # if the target has it'
