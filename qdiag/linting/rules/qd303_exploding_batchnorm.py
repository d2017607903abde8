"""QD303."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.numerics.merge import NormState

# A channel's factor is suspect beyond this many times the layer's median, or beyond this size at all.
TIMES_MEDIAN = 2.0**6
ABSOLUTE = 1e3


class ExplodingBatchNorm(Rule):
    """A BatchNorm channel whose merged factor, gamma / sqrt(running_var + eps), is far larger than the others'.

    **Why it hurts.** Merging multiplies the channel's weights by that factor. A running variance near zero makes it
    huge: the channel then decides the scale of the whole merged weight tensor, and the other channels lose bits.
    Channels like that often carried next to nothing in training, so that what fills the range is noise. Channels whose
    merged weights are zero all the same are left out.

    **Fix.** Estimate the BatchNorm statistics again on training data; train with weight decay on gamma and weights; or
    give the layer per-channel weights.

    **Reference.** Sheng et al., A Quantization-Friendly Separable Convolution for MobileNets, arXiv:1803.08607
    (channels with near-zero variance). Nagel et al., Data-Free Quantization, arXiv:1906.04721.
    """

    code = "QD303"
    name = "exploding-batchnorm"
    title = "BatchNorm channel with a variance near zero, or a huge factor"
    severity = "warning"

    def check(self, context: LintContext) -> Iterator[Finding]:
        for layer in context.layer_weights:
            norm = context.norms.get(layer.call.site)
            if norm is None:
                continue
            state = context.norm_state(norm)
            factor = state.factor().abs().cpu()
            suspect = layer.alive & ((factor > TIMES_MEDIAN * factor.median()) | (factor > ABSOLUTE))
            if suspect.any():
                worst = int(torch.where(suspect, factor, 0).argmax())
                fix = _ESTIMATE if float(state.variance[worst]) < 10 * state.eps else _EVEN_OUT
                why = f"{int(suspect.sum())} of {len(factor)} channels have a huge factor: {_figures(state, worst)}."
                yield self.finding(context.trace[norm.sites[-1]], why, fix, cause="exploding")

    @staticmethod
    def bad() -> Example:
        net = _Net()
        net.get_buffer("bn.running_var")[5] = 1e-9  # the factor becomes 1 / sqrt(1e-9 + 1e-5) = 316
        return Example(net, torch.zeros(1, 3, 8, 8), sites=("bn",))

    @staticmethod
    def good() -> Example:
        return Example(_Net(), torch.zeros(1, 3, 8, 8))


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))  # <-


def _figures(state: NormState, worst: int) -> str:
    factor = state.factor().abs()
    gamma = 1.0 if state.weight is None else float(state.weight[worst])
    return (
        f"channel {worst} is multiplied by {float(factor[worst]):.3g} (γ {gamma:.2g}, running variance "
        f"{float(state.variance[worst]):.2g}), the median channel by {float(factor.median()):.3g}"
    )


_EVEN_OUT = 'quantized = calibrate(model, loader, bits=8, per_channel="all")  # or equalize, or train with decay on γ'
_ESTIMATE = """\
model.train()  # estimate the statistics again
with torch.no_grad():
    for images, _ in loader:
        model(images)
model.eval()"""
