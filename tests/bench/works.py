"""What is measured: networks, and the things that people have done to them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag import QuantizedModel, QuantTrainModule, calibrate, compare, lint_model, sensitivity

ADDED_IMAGES = 16
Work = Callable[[], object]


@dataclass(frozen=True)
class Network:
    """One to measure on, with random weights, which cost the same. images: of [3, size, size], in one batch."""

    name: str
    size: int = 224
    images: int = 32

    def make(self) -> nn.Module:
        torch.manual_seed(0)
        library, _, name = self.name.rpartition("/")
        made: nn.Module = timm.create_model(name) if library else torchvision.models.get_model(name, weights=None)
        return made.eval()


NETWORKS = (
    Network("mobilenet_v2"),
    Network("timm/tf_efficientnet_lite0"),
    Network("resnet50"),
    Network("regnet_x_400mf"),
    Network("densenet121"),
    Network("timm/edgenext_xx_small", size=64, images=4),
    Network("resnet18", size=32, images=128),
)


class Bench:
    """A network and its images; works on both."""

    def __init__(self, network: Network, device: str = "cpu"):
        self.model = network.make().to(device)
        self.images = torch.randn(network.images, 3, network.size, network.size, device=device)
        self.trained: dict[str, Work] = {}

    @cached_property
    def quantized(self) -> dict[str, QuantizedModel]:
        return {f"{bits}-bit": calibrate(self.model, self.images, "simple", bits) for bits in (16, 8)}

    @torch.no_grad()
    def eager(self) -> object:
        """The model's own forward of all images: what everything is held against."""
        return self.model(self.images)

    def compare(self) -> object:
        return compare(self.model, [self.images], quantized=self.quantized, added_images=0)

    def compare_added(self) -> object:
        return compare(self.model, [self.images], quantized=self.quantized, added_images=ADDED_IMAGES)

    def compare_plain(self) -> object:
        return compare(self.model, [self.images])

    def simple(self) -> object:
        return calibrate(self.model, [self.images], "simple")

    def forward(self) -> object:
        return self.quantized["8-bit"](self.images)

    def lint(self) -> object:
        return lint_model(self.model, [self.images])

    def fast_sensitivity(self) -> object:
        return sensitivity(self.quantized["8-bit"], [self.images], "fast", images=len(self.images))

    def exact_sensitivity(self) -> object:
        return sensitivity(self.quantized["8-bit"], [self.images], "exact", images=len(self.images))

    @property
    def layers(self) -> int:
        """How many the exact sensitivity tries."""
        return len(self.quantized["8-bit"].plan.layers)

    def step(self, version: str) -> object:
        """A training step of "float" or "quantized", on a quarter of the images."""
        if version not in self.trained:
            self.trained[version] = _stepper(self.model, self.images[: max(2, len(self.images) // 4)], version)
        return self.trained[version]()


def _stepper(model: nn.Module, images: Tensor, version: str) -> Work:
    own: Any = copy.deepcopy(model)
    if version == "quantized":
        own = QuantTrainModule(own, images[:2])
    own.train()
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    optimizer = torch.optim.SGD(own.parameters(), lr=1e-3)

    def step() -> Tensor:
        loss = F.cross_entropy(own(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step()
    return step
