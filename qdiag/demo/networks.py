"""The demo's two networks for handwritten digits: one and the same design, built with care and built in haste.

Each has a stem, four depthwise blocks (two of them with a shortcut) and a classifier; 16 x 16 pixels in, one channel,
ten classes out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.blocks import AddBlock


class HealthyNet(nn.Module):
    """A BatchNorm after every convolution, one module per use, and the shortcut's sum in a module of its own.

    Shapes: images (N, 1, 16, 16) -> logits (N, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _conv_bn_relu(1, 16, kernel_size=3)
        self.block1 = HealthyBlock(16, 32, stride=2)
        self.block2 = HealthyBlock(32, 32)
        self.block3 = HealthyBlock(32, 64, stride=2)
        self.block4 = HealthyBlock(64, 64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = self.block4(self.block3(self.block2(self.block1(x))))
        return self.classifier(self.flatten(self.pool(x)))


class HealthyBlock(nn.Module):
    """Depthwise, then pointwise convolution, with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = _conv_bn_relu(inputs, inputs, kernel_size=3, stride=stride, groups=inputs)
        self.pointwise = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.add = AddBlock() if inputs == outputs and stride == 1 else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pointwise(self.depthwise(x))
        return self.relu(y if self.add is None else self.add(x, y))


def _conv_bn_relu(inputs: int, outputs: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class WildNet(nn.Module):
    """The same network as one finds it: it works in float, and holds what makes 8 bits hard.

    A stem without BatchNorm, one ReLU used twice in each block, sums and activations written as functions, and, in its
    trained weights, a depthwise channel far larger than its neighbours.

    Shapes: images (N, 1, 16, 16) -> logits (N, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.block1 = WildBlock(16, 32, stride=2)
        self.block2 = WildBlock(32, 32)
        self.block3 = WildBlock(32, 64, stride=2)
        self.block4 = WildBlock(64, 64)
        self.classifier = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        x = self.block4(self.block3(self.block2(self.block1(x))))
        x = F.adaptive_avg_pool2d(x, 1)
        return self.classifier(torch.flatten(x, 1))


class WildBlock(nn.Module):
    """Depthwise, then pointwise convolution, with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, kernel_size=1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.depthwise_bn(self.depthwise(x)))
        y = self.pointwise_bn(self.pointwise(y))
        if self.shortcut:
            y = x + y
        return self.relu(y)
