"""Small networks and data to train, which draw at random wherever a run might: order, augmentation, dropout."""

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

IMAGES, CLASSES = 96, 4


class Noisy(Dataset[tuple[Tensor, int]]):
    """Images whose brightest quarter is the class, each time with other noise from all three generators."""

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        label = number % CLASSES
        image = torch.zeros(1, 8, 8)
        image[:, 2 * label : 2 * label + 2] = 2
        noise = torch.randn(1, 8, 8) + float(np.random.normal()) * 0.2 + random.gauss(0, 0.2)
        return image + 0.5 * noise, label


def loader() -> DataLoader[tuple[Tensor, int]]:
    return DataLoader(Noisy(), batch_size=16)


def images() -> Tensor:
    return torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def images_and_labels() -> list[tuple[Tensor, Tensor]]:
    """A batch to validate with, without noise."""
    labels = torch.arange(CLASSES)
    clean = torch.zeros(CLASSES, 1, 8, 8)
    for label in labels.tolist():
        clean[label, :, 2 * label : 2 * label + 2] = 2
    return [(clean, labels)]


def net(width: int = 8) -> nn.Sequential:
    """The same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((4, 1)),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(4 * width, CLASSES),
        )


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Bit for bit: parameters, buffers and all else that is saved."""
    return same(a.state_dict(), b.state_dict())


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
