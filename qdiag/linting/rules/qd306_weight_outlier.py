"""QD306."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule

QUANTILE = 0.999
ENOUGH = 1000  # fewer values have no 99.9th percentile


class WeightOutlier(Rule):
    """A few single weights that are far larger than all others of their tensor, BatchNorm merged.

    **Why it hurts.** The scale has to reach the largest weight. Where 99.9 % of the weights lie under a sixteenth of
    it, they share the lower four of the eight bits, for the sake of one in a thousand.

    **Fix.** Keep the layer in 16 bit; or clip these weights and train on, with weight decay.

    **Reference.** Zhao et al., Improving Neural Network Quantization without Retraining using Outlier Channel
    Splitting, arXiv:1901.09504. TI, "Calibration" (edgeai-torchvision docs): weight clipping.
    """

    code = "QD306"
    name = "weight-outlier"
    title = "a few weights far larger than the rest of their tensor"
    severity = "warning"
    is_met_by_calibration = True

    def check(self, context: LintContext) -> Iterator[Finding]:
        for layer in context.layer_weights:
            few = 0 < layer.large <= (1 - QUANTILE) * layer.size
            weight = context.weight(layer.call) if few and layer.size >= ENOUGH else None
            if weight is not None:
                fix = _FIX.replace("SITE", str(layer.call.site))
                yield self.finding(layer.call, _why(weight, layer.large), fix, cause="outlier")

    @staticmethod
    def bad() -> Example:
        net = _Net()
        net.conv.weight.data[0, 0, 0, 0] = 5.0
        return Example(net, torch.zeros(1, 16, 8, 8), sites=("conv",))

    @staticmethod
    def good() -> Example:
        return Example(_Net(), torch.zeros(1, 16, 8, 8))


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3)
        nn.init.uniform_(self.conv.weight, -0.1, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # <-


_FIX = 'quantized = calibrate(model, loader, bits={"SITE": 16, "*": 8})  # or clip these weights and train on'


def _why(weight: Tensor, large: int) -> str:
    magnitude = weight.abs().flatten()
    quantile = float(magnitude.kthvalue(int(QUANTILE * len(magnitude))).values)
    largest = float(magnitude.max())
    return (
        f"The largest weight is {largest:.3g}, while 99.9 % are under {quantile:.3g}, "
        f"{largest / quantile:,.0f} times less: {large} of {len(magnitude):,} weights take four bits from all others."
    )
