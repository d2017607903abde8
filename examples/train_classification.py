"""Trains a classifier in float, calibrates it, and trains it in 8-bit fixed point.

    python examples/train_classification.py                      # handwritten digits: half a minute on two CPU cores
    python examples/train_classification.py --data cifar10:FOLDER --model resnet18 --size 32 --epochs 60
    python examples/train_classification.py --data FOLDER --model mobilenet_v2 --pretrained --epoch-size 0.1
    accelerate launch examples/train_classification.py …         # on every GPU of the machine

FOLDER holds `train` and `val`, each with one folder of images for each class; for cifar10, torchvision's own files.
Models are torchvision's. With --output, a second run goes on where the first one was stopped or killed.
"""

import argparse
import copy
from pathlib import Path
from typing import Any

import torch
import torchvision
from accelerate import PartialState
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms

from qdiag import QuantTrainModule, Recipe, TrainingResult, calibrate, train
from qdiag.demo.digits import digits_loader
from qdiag.demo.networks import HealthyNet
from qdiag.image_folder import IMAGENET_MEAN, IMAGENET_STD


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    torch.manual_seed(options.seed)
    images, validation = loaders(options)
    model = network(options)
    shared: dict[str, Any] = {"epoch_size": options.epoch_size, "seed": options.seed}

    if not options.pretrained:
        recipe = Recipe.from_scratch(options.epochs, options.lr, **shared)
        show(train(model, (images, validation), recipe, **kept(options, "float")))

    teacher = copy.deepcopy(model)
    quantized = QuantTrainModule.from_calibrated(calibrate(model, images, max_images=128))
    recipe = Recipe(options.qat_epochs, learning_rate=options.qat_lr, distillation=options.distillation, **shared)
    show(train(quantized, (images, validation), recipe, teacher=teacher, **kept(options, "quantized")))


def show(result: TrainingResult) -> None:
    """Once, of several processes."""
    if PartialState().is_main_process:
        result.print()


def network(options: argparse.Namespace) -> nn.Module:
    if options.data == "digits":
        return HealthyNet()
    weights = "DEFAULT" if options.pretrained else None
    classes = {} if options.pretrained else {"num_classes": options.classes}
    model: nn.Module = torchvision.models.get_model(options.model, weights=weights, **classes)
    return model


def loaders(options: argparse.Namespace) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Images to train with, augmented, and images to validate with."""
    if options.data == "digits":
        return digits_loader("train"), digits_loader("test")
    kind, _, folder = options.data.rpartition(":")
    normalize = [transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    if kind == "cifar10":
        options.classes = 10
        crop = [transforms.RandomCrop(options.size, padding=options.size // 8), transforms.RandomHorizontalFlip()]
        parts: list[Dataset[Any]] = [
            datasets.CIFAR10(folder, train=True, transform=transforms.Compose([*crop, *normalize])),
            datasets.CIFAR10(folder, train=False, transform=transforms.Compose(normalize)),
        ]
    else:
        crop = [transforms.RandomResizedCrop(options.size), transforms.RandomHorizontalFlip()]
        middle = [transforms.Resize(options.size * 8 // 7), transforms.CenterCrop(options.size)]
        parts = [
            datasets.ImageFolder(str(Path(folder) / "train"), transforms.Compose([*crop, *normalize])),
            datasets.ImageFolder(str(Path(folder) / "val"), transforms.Compose([*middle, *normalize])),
        ]
        options.classes = len(parts[0].classes)  # type: ignore[attr-defined]
    first, second = (DataLoader(part, options.batch_size, num_workers=options.workers) for part in parts)
    return first, second


def kept(options: argparse.Namespace, part: str) -> dict[str, Any]:
    return {} if options.output is None else {"output": options.output / part, "resume": True}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, cifar10:FOLDER, or a folder with train and val")
    parser.add_argument("--model", default="mobilenet_v2", help="of torchvision; the digits have their own")
    parser.add_argument("--pretrained", action="store_true", help="begin with torchvision's weights, not with training")
    parser.add_argument("--size", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10, help="in float")
    parser.add_argument("--lr", type=float, default=0.1, help="in float")
    parser.add_argument("--qat-epochs", type=int, default=4, help="in fixed point")
    parser.add_argument("--qat-lr", type=float, default=1e-4, help="in fixed point")
    parser.add_argument("--distillation", type=float, help="part of the loss that comes from the float model, 0 to 1")
    parser.add_argument("--epoch-size", type=float, default=1.0, help="part of the images for each epoch, 0 to 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for checkpoints and weights")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
