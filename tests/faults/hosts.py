"""Healthy networks with their data: what faults are put into."""

import copy
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.demo.digits import digits
from qdiag.demo.load import load_demo
from qdiag.subject import Task
from tests.faults.boxes import Boxes
from tests.faults.networks import Classifier, Segmenter
from tests.models import settle

CACHE = Path(__file__).parent / ".cache"
"""Trained weights, and results as they come; git does not see it."""
HEALTHY = 0.8
"""Of the digits that a network has to read, to have a fault put in."""
IMAGES = 320
BATCH = 80


@dataclass(frozen=True)
class Host:
    """A network in eval mode, the images that it is judged on, labels or masks, images for ranges, what it is for.

    raw: turns images into what they are before normalization (0..255), None where there is no such thing. boxes: of a
    detector, what is to be found in the images. minutes: that a diagnosis may try repairs for.
    """

    name: str
    model: nn.Module
    images: Tensor
    labels: Tensor | None
    calibration: Tensor
    task: Task = "classification"
    raw: Callable[[Tensor], Tensor] | None = None
    boxes: Boxes | None = None
    minutes: float = 2.0

    def copy(self) -> "Host":
        return replace(self, model=copy.deepcopy(self.model))

    @property
    def data(self) -> list[object]:
        """As `diagnose` takes it."""
        images = self.images.split(BATCH)
        return list(images) if self.labels is None else list(zip(images, self.labels.split(BATCH), strict=True))


def digit_host(kind: str, seed: int = 0) -> Host:
    """A network for handwritten digits: of the demo, or trained here from this seed, in seconds."""
    (images, labels), (calibration, _) = digits("test"), digits("calibration")
    images, labels = images[:IMAGES], labels[:IMAGES]
    if kind == "demo":
        return Host("demo", load_demo("healthy").model.eval(), images, labels, calibration, raw=raw_digits)
    model, task = _trained(kind, seed), "classification"
    target: Tensor | None = labels
    if kind == "segmenter":
        target, task = masks(images, labels), "segmentation"
    elif kind == "values":
        target, task = None, "values"
    return Host(f"{kind}-{seed}", model, images, target, calibration, task, raw_digits)  # type: ignore[arg-type]


def raw_digits(images: Tensor) -> Tensor:
    """Pixels of 0 to 255."""
    return (images * 0.376 + 0.305) * 255


def masks(images: Tensor, labels: Tensor) -> Tensor:
    """The digit's class where there is ink, else 10: [N, 16, 16]."""
    return torch.where(images[:, 0] > 0.5, labels.view(-1, 1, 1), 10)


def moments(images: Tensor) -> Tensor:
    """Centre, extents and mean of the ink: [N, 5], by formula."""
    ink = (images[:, 0] * 0.376 + 0.305).clamp(min=0)
    weight = ink / ink.sum((1, 2), keepdim=True)
    place = torch.linspace(-1, 1, ink.shape[-1])
    x, y = (weight.sum(1) * place).sum(1), (weight.sum(2) * place).sum(1)
    spread_x = ((weight.sum(1) * place.square()).sum(1) - x.square()).sqrt()
    spread_y = ((weight.sum(2) * place.square()).sum(1) - y.square()).sqrt()
    found = torch.stack([x, y, spread_x, spread_y, ink.mean((1, 2))], 1)
    return (found - found.mean(0)) / found.std(0)


def _trained(kind: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    blocks = {"values": "residual"}.get(kind, kind)
    model = Segmenter() if kind == "segmenter" else Classifier(blocks, 5 if kind == "values" else 10)
    path = CACHE / f"{kind}-{seed}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    images, labels = digits("train")
    target = {"segmenter": masks(images, labels), "values": moments(images)}.get(kind, labels)
    _fit(model, images, target, F.mse_loss if kind == "values" else F.cross_entropy)
    path.parent.mkdir(exist_ok=True)
    torch.save(model.state_dict(), path)
    return model.eval()


def _fit(model: nn.Module, images: Tensor, target: Tensor, loss: Callable[..., Tensor], epochs: int = 12) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(64)[:-1]:
            optimizer.zero_grad()
            loss(model(images[part]), target[part]).backward()
            optimizer.step()
        schedule.step()


@torch.no_grad()
def zoo_host(name: str) -> Host:
    """An architecture of torchvision for the digits: weights from a seed, BatchNorm settled, its last layer solved.

    Random features, and least squares on top of them, read nine digits of ten.
    """
    torch.manual_seed(zlib.crc32(name.encode()))
    model = torchvision.models.get_model(name, weights=None, num_classes=10)
    (images, labels), (shown, truth), (calibration, _) = digits("train"), digits("test"), digits("calibration")
    images, shown, calibration = (_coloured(x) for x in (images, shown[:IMAGES], calibration))
    settle(model, images[:256])
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    features: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    for part in images.split(BATCH):
        model(part)
    hook.remove()
    x = torch.cat(features).double()
    mean, target = x.mean(0), F.one_hot(labels, 10).double() - 0.1
    gram = (x - mean).T @ (x - mean)
    solved = torch.linalg.solve(gram + 0.1 * gram.diagonal().mean() * torch.eye(len(gram)), (x - mean).T @ target)
    head.weight.copy_(8 * solved.T)
    head.bias.copy_(-8 * mean @ solved)
    host = Host(name, model, shown, truth[:IMAGES], calibration, raw=raw_digits)
    right = float((model(shown).argmax(1) == truth[:IMAGES]).float().mean())
    assert right > HEALTHY, f"{name} reads {right:.0%} of the digits: no network to put a fault in"
    return host


def _coloured(images: Tensor) -> Tensor:
    """Three channels of 32 x 32 pixels."""
    return F.interpolate(images, 32, mode="bilinear").repeat(1, 3, 1, 1)
