"""What quantization-aware training adds to calibration, on the same images; writes docs/training_results.md.

    pip install qdiag[imagenet]
    python examples/training_results.py --data DATA [--parts cifar rescaled four_bits lite0 camvid]

DATA is as for examples/calibration_results.py. Each network is calibrated with `best`, and trained on from there with
`qdiag.train`, to the outputs of the float model: no labels.
"""

import argparse
import copy
import importlib
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import camvid as segmentation
import torch
from calibration_results import SHARED, Page, normalised, rescale
from imagenet_efficientnet_lite0 import PREPROCESSING, build
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as images

from qdiag import QuantTrainModule, Recipe, Widths, calibrate, train
from qdiag.comparison.output_leaves import met_apart
from qdiag.comparison.outputs import OutputSums
from qdiag.image_folder import ImageFolder
from qdiag.planning.widths import Bits

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training_results.md"
Score = Callable[[nn.Module], tuple[str, ...]]


class Augmented(Dataset[Tensor]):
    """Images [N, 3, H, W] that are mirrored, and moved by up to an eighth of their size, at random."""

    def __init__(self, pictures: Tensor):
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> Tensor:
        picture = self.pictures[number]
        height, width = picture.shape[1:]
        padded = images.pad(picture, [width // 8, height // 8], padding_mode="reflect")
        top, left = (int(torch.randint(0, side // 4 + 1, ())) for side in (height, width))
        moved = padded[:, top : top + height, left : left + width]
        return moved.flip(-1) if torch.rand(()) < 0.5 else moved


def run(page: Page, model: nn.Module, calibration: Tensor, data: Any, recipe: Recipe, score: Score, bits: Bits) -> None:
    """Rows of a table: float, calibrated, trained from there; in fewer than 8 bits with learned thresholds, too."""
    teacher = copy.deepcopy(model).eval()
    page.add(f"| float | {score(teacher)[0]} | | | | |")
    for learn in (False,) if bits == 8 else (False, True):
        network = copy.deepcopy(model)
        start = time.perf_counter()
        calibrated = calibrate(network, calibration, bits=bits)
        if not learn:
            page.add(f"| best | {' | '.join(score(calibrated))} | {time.perf_counter() - start:.0f} |")
        trained = QuantTrainModule.from_calibrated(calibrated, learn_thresholds=learn)
        train(trained, data, recipe, teacher=teacher)
        name = "trained, thresholds too" if learn else "trained"
        page.add(f"| {name} | {' | '.join(score(trained.eval()))} | {time.perf_counter() - start:.0f} |")


def against(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> Score:
    """Top-1, drop and agreement against the float model as it is now."""
    with torch.no_grad():
        expected = [model(x) for x, _ in batches]

    @torch.no_grad()
    def score(version: nn.Module) -> tuple[str, ...]:
        sums = OutputSums(1)
        for (x, labels), reference in zip(batches, expected, strict=True):
            sums.update(met_apart(reference, version(x)), labels, len(x))
        error = sums.error(0)
        low, high = error.drop_interval or (0.0, 0.0)
        drop = f"{error.drop_points:+.2f} ({low:+.2f} to {high:+.2f})"
        return f"{error.top1_percent:.2f} %", drop, f"{error.agreement_percent:.2f} %", decibels(error.sqnr_db)

    return score


def decibels(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else ""


def begin(page: Page, part: str, title: str, *words: str, metric: str = "top-1") -> None:
    page.begin(part, f"## {title}", "", *words, "")
    page.add(f"| | {metric} | drop (95 % interval) | agrees with float | output SQNR | seconds |")
    page.add("|---|---|---|---|---|---|")


def cifar_network(page: Page, data: Path, part: str, title: str, bits: Bits, *, rescaled: bool = False) -> None:
    sys.path.insert(0, str(data / "cifar10"))
    models, io = (importlib.import_module(name) for name in ("models", "cifar_io"))
    found = io.load_jpeg(splits=("train", "test"))
    pictures, tests = (normalised(found[name], models.MEAN, models.STD) for name in ("train_x", "test_x"))
    labels = torch.from_numpy(found["test_y"]).long()
    model = models.load("mobilenetv2_cifar", str(data / "cifar10" / "mobilenetv2_cifar.pt")).eval()
    score = against(model, list(zip(tests.split(100), labels.split(100), strict=True)))
    if rescaled:
        rescale(model, tests[:2])
    recipe = Recipe(epochs=2, epoch_size=0.8, batch_size=128, threshold_rate=1e-3)
    begin(page, part, title, "256 training images calibrate, 625 steps of 128 train, 10000 test images measure.")
    run(page, model, pictures[:256], Augmented(pictures), recipe, score, bits)


def cifar(page: Page, data: Path) -> None:
    """8 bit per tensor."""
    cifar_network(page, data, "cifar", "MobileNetV2-style on CIFAR-10, 8 bit per tensor", 8)


def rescaled(page: Page, data: Path) -> None:
    """The same with channels up to 2^8 apart."""
    title = "MobileNetV2-style on CIFAR-10 with channels rescaled up to 2^8 apart, 8 bit per tensor"
    cifar_network(page, data, "rescaled", title, 8, rescaled=True)


def four_bits(page: Page, data: Path) -> None:
    """Weights of 4 bits."""
    title = "MobileNetV2-style on CIFAR-10, weights in 4 bit, tensors in 8, per tensor"
    cifar_network(page, data, "four_bits", title, Widths(weights=4, activations=8))


def lite0(page: Page, data: Path) -> None:
    """EfficientNet-Lite0 with its ImageNet weights."""
    everything = ImageFolder(data / "imagenet_calib", PREPROCESSING)
    pictures = torch.stack([everything[number][0] for number in range(len(everything))])
    chosen = torch.randperm(1000, generator=torch.Generator().manual_seed(0))[:128]
    evaluation = list(DataLoader(ImageFolder(data / "imagenet_eval", PREPROCESSING), batch_size=16))
    model = build().eval()
    words = "128 images calibrate, 200 steps of 16 train on 1000 images, 1000 of another folder measure."
    begin(page, "lite0", "EfficientNet-Lite0 on ImageNet images, 8 bit per tensor", words)
    recipe = Recipe(epochs=4, epoch_size=0.8, batch_size=16, learning_rate=1e-5, threshold_rate=1e-3)
    score = against(model, [(x, y) for x, y in evaluation])
    run(page, model, pictures[chosen], Augmented(pictures), recipe, score, 8)


def camvid(page: Page, data: Path) -> None:
    """DeepLabV3+ of examples/camvid.py."""
    model = segmentation.trained(data / "camvid", Path("camvid.pt"), epochs=90)
    training, test = (segmentation.CamVid(data / "camvid", part) for part in ("train", "test"))
    pictures, (tests, labels) = training.all()[0], test.all()
    chosen = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:64]

    @torch.no_grad()
    def outputs(version: nn.Module) -> Tensor:
        return torch.cat([version(x) for x in tests.split(4)])

    def confusions(scores: Tensor) -> Tensor:
        return torch.stack([segmentation.confusion(s[None], y[None]) for s, y in zip(scores, labels, strict=True)])

    reference = outputs(model)
    counts = confusions(reference)

    def score(version: nn.Module) -> tuple[str, ...]:
        scores = outputs(version)
        found, agree = confusions(scores), (scores.argmax(1) == reference.argmax(1)).float().mean()
        drop, low, high = segmentation.iou_drop(counts, found)
        noise = (scores - reference).square().sum() / reference.square().sum()
        mean = f"{float(segmentation.mean_iou_percent(found.sum(0))):.2f} %"
        lost = f"{drop:+.2f} ({low:+.2f} to {high:+.2f})"
        return mean, lost, f"{100 * float(agree):.2f} %", decibels(-10 * float(noise.log10()))

    words = "64 training images calibrate, 184 steps of 4 train on 367, 233 test images measure."
    begin(page, "camvid", "DeepLabV3+ on CamVid, 8 bit per tensor", words, metric="mean IoU")
    recipe = Recipe(epochs=2, batch_size=4, learning_rate=1e-4, threshold_rate=1e-3)
    run(page, model, pictures[chosen], Augmented(pictures), recipe, score, 8)


PARTS = {part.__name__: part for part in (cifar, rescaled, four_bits, lite0, camvid)}
INTRODUCTION = (
    "# Quantization-aware training, measured",
    "",
    "Written by `python examples/training_results.py`. Power-of-two scales, symmetric; all versions of a network on",
    "the same images, the drop paired with float's, with its 95 % interval. Negative drops are gains. Training learns",
    "the float model's outputs, without labels. Seconds with calibration, on one thread of a shared processor.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("QDIAG_DATA", SHARED)))
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    options = parser.parse_args()
    page = Page(options.output, INTRODUCTION, list(PARTS))
    for name in options.parts:
        PARTS[name](page, options.data)


if __name__ == "__main__":
    main()
