"""An exact change of a network's weights that float does not see and 8 bits do."""

from collections.abc import Sequence

import torch
from torch import nn

from qdiag.demo.networks import WildNet

WILD_FACTOR = 2.0**6
WILD_CHANNELS = (18,)


def stretch_wild(net: WildNet, factor: float = WILD_FACTOR) -> None:
    """Plants the wild network's fault: one channel of block3's depthwise convolution, stretched.

    Called again with `1 / WILD_FACTOR`, it takes the fault back.
    """
    stretch_channels(net.block3.depthwise_bn, net.block3.pointwise, WILD_CHANNELS, factor)


@torch.no_grad()
def stretch_channels(norm: nn.BatchNorm2d, consumer: nn.Conv2d, channels: Sequence[int], factor: float) -> None:
    """Makes some channels `factor` times larger at a BatchNorm, and undoes it at the convolution that reads them.

    Between the two there may only be a ReLU, since relu(f x) = f relu(x) for f > 0. Networks drift into this by
    themselves (Data-Free Quantization, arXiv:1906.04721). Once the BatchNorm is merged into the convolution before it,
    that convolution has a few large channels, and per-tensor 8 bits leave almost nothing for the others.

    Works in place. A power of two is exact in float.
    """
    picked = list(channels)
    norm.weight[picked] *= factor
    norm.bias[picked] *= factor
    consumer.weight[:, picked] /= factor
