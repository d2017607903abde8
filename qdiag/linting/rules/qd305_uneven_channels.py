"""QD305."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding, Severity
from qdiag.linting.layer_weight import LayerWeight
from qdiag.linting.rule import Example, Rule
from qdiag.numerics.qparams import weight_qparams
from qdiag.numerics.qscheme import QScheme

SQUEEZED = 2.0**-4  # a channel under this part of the largest keeps at most half of its 8 bits
TOLERATED = 0.05  # a few small channels are usual, and seldom matter


class UnevenChannels(Rule):
    """A layer whose output channels have weights of very different sizes, after its BatchNorm is merged into it.

    **Why it hurts.** One power-of-two scale holds the whole weight tensor, and has to reach its largest channel. A
    channel 16 times smaller than that has 4 of the 8 bits left, one 128 times smaller has 1. Depthwise convolutions
    drift into this by themselves, since each channel has a filter of its own that nothing ties to the others.

    A layer is reported where over 5 % of its channels are more than 16 times smaller than the largest, as an error
    where most are. Channels that are zero even in 16 bits do not count.

    **Fix.** Per-channel weights (`per_channel="depthwise"` or `"all"`) where the target has them; cross-layer
    equalization, which float does not see; weight decay on all parameters when training.

    **Reference.** Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
    arXiv:1906.04721. Krishnamoorthi, Quantizing deep convolutional networks: a whitepaper, arXiv:1806.08342
    (per-channel weights).
    """

    code = "QD305"
    name = "uneven-channels"
    title = "channels of one layer with weights of very different sizes"
    severity = "warning"
    is_met_by_calibration = True

    def check(self, context: LintContext) -> Iterator[Finding]:
        found = [(_squeezed_share(layer), layer) for layer in context.layer_weights]
        for share, layer in sorted(found, key=lambda pair: pair[0], reverse=True):
            if share > TOLERATED:
                kind = "depthwise" if layer.call.is_depthwise else "all"
                severity: Severity = "error" if share > 0.5 else "warning"
                yield self.finding(layer.call, _why(layer), _fix(kind), severity=severity, cause=kind)

    @staticmethod
    def bad() -> Example:
        net = _Net()
        net.bn.weight.data[2] = 50.0  # merged, channel 2 is 50 times the others
        return Example(net, torch.zeros(1, 8, 8, 8), sites=("conv",))

    @staticmethod
    def good() -> Example:
        return Example(_Net(), torch.zeros(1, 8, 8, 8))


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, groups=8, bias=False)
        nn.init.constant_(self.conv.weight, 0.1)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))  # <-


def _squeezed_share(layer: LayerWeight) -> float:
    """The share of living channels that keep at most half of their bits."""
    living = layer.ranges[layer.alive]
    return float((living < SQUEEZED * layer.largest).double().mean()) if len(living) else 0.0


def _why(layer: LayerWeight) -> str:
    living = layer.ranges[layer.alive]
    smallest, median, largest = float(living.min()), float(living.median()), layer.largest
    widest, narrowest = int(layer.ranges.argmax()), int(torch.where(layer.alive, layer.ranges, math.inf).argmin())
    squeezed = int((living < SQUEEZED * largest).sum())
    kind = "depthwise " if layer.call.is_depthwise else ""
    return (
        f"{squeezed} of {len(living)} channels of this {kind}{layer.call.op} are more than 16 times smaller than the "
        f"largest: channel {widest} reaches {largest:.3g}, channel {narrowest} {smallest:.3g} "
        f"({largest / smallest:,.0f} times less). In 8 bits the median channel keeps {_bits(median, largest)} bits, "
        f"the smallest {_bits(smallest, largest)}."
    )


def _bits(channel: float, largest: float) -> str:
    """How many of 8 bits a channel uses under the scale of the largest, its sign included."""
    return f"{weight_qparams(QScheme(8), torch.tensor(largest)).used_bits(channel):.1f}"


def _fix(kind: str) -> str:
    return f'quantized = calibrate(model, loader, bits=8, per_channel="{kind}")  # or equalize the layers'
