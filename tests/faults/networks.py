"""Small networks of usual designs for digits: residual, inverted bottlenecks, concatenation, a segmenter."""

import torch
from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(*conv_bn(inputs, outputs, size, stride, groups), nn.ReLU())


class ResidualBlock(nn.Module):
    """Two convolutions, and a shortcut by a third."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv_bn_relu(inputs, outputs, 3, stride), conv_bn(outputs, outputs)
        self.shortcut, self.relu = conv_bn(inputs, outputs, 1, stride), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.first(x)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """Expand, depthwise, project: the last without an activation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = conv_bn_relu(inputs, 3 * inputs, 1)
        self.depthwise = conv_bn_relu(3 * inputs, 3 * inputs, 3, stride, 3 * inputs)
        self.project = conv_bn(3 * inputs, outputs, 1)
        self.has_shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


class Branches(nn.Module):
    """A small and a large kernel side by side, their channels put together."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.small = conv_bn_relu(inputs, outputs // 2, 1, stride)
        self.reduce = conv_bn_relu(inputs, outputs // 2, 1)
        self.large = conv_bn_relu(outputs // 2, outputs // 2, 3, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.small(x), self.large(self.reduce(x))], 1)


BLOCKS = {"residual": ResidualBlock, "bottleneck": Bottleneck, "branches": Branches}


class Classifier(nn.Module):
    """A stem, four blocks of one kind, and a linear layer; images [N, 1, 16, 16] -> [N, outputs]."""

    def __init__(self, block: str, outputs: int = 10, width: int = 12) -> None:
        super().__init__()
        build = BLOCKS[block]
        self.stem = conv_bn_relu(1, width)
        self.blocks = nn.Sequential(
            build(width, 2 * width, 2),
            build(2 * width, 2 * width, 1),
            build(2 * width, 3 * width, 2),
            build(3 * width, 3 * width, 1),
        )
        self.last = conv_bn_relu(3 * width, 4 * width, 1)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(4 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.last(self.blocks(self.stem(x)))).flatten(1))


class Segmenter(nn.Module):
    """Down, up, and a skip; images [N, 1, 16, 16] -> scores of 11 classes [N, 11, 16, 16]."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.stem, self.down = conv_bn_relu(1, width), conv_bn_relu(width, 2 * width, 3, 2)
        self.deep = nn.Sequential(conv_bn_relu(2 * width, 4 * width, 3, 2), conv_bn_relu(4 * width, 4 * width))
        self.wide = nn.Sequential(conv_bn_relu(4 * width, 4 * width, 3, 2), conv_bn_relu(4 * width, 2 * width, 1))
        self.up, self.skip = nn.Upsample(scale_factor=4), conv_bn_relu(2 * width, width, 1)
        self.mix, self.grow = conv_bn_relu(3 * width, 2 * width), nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(2 * width, 11, 1)

    def forward(self, x: Tensor) -> Tensor:
        half = self.down(self.stem(x))
        deep = self.up(self.wide(self.deep(half)))
        return self.head(self.grow(self.mix(torch.cat([deep, self.skip(half)], 1))))
