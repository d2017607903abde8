"""What each calibration method keeps of a network's accuracy, side by side on the same images; writes docs/results.md.

    pip install qdiag[imagenet]
    python examples/calibration_results.py --data DATA [--quick]

DATA holds imagenet_calib/ and imagenet_eval/ (labels.csv with images/ beside it), and cifar10/ (cifar_io.py, models.py
and the weights of two networks), and camvid/. --parts runs some of it, and keeps the others as they stand on the page.
The CamVid network is trained first where examples/camvid.py has not yet left its weights in camvid.pt.
"""

import argparse
import importlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import camvid as segmentation
import torch
from imagenet_efficientnet_lite0 import PREPROCESSING, build
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from qdiag.comparison.output_error import OutputError
from qdiag.comparison.streaming import outputs_steps
from qdiag.image_folder import ImageFolder
from qdiag.planning.channels import channel_groups
from qdiag.planning.layer import Layer
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.planning.widths import Bits
from qdiag.progress import run
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.methods.method import METHODS
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.tracing.tracer import trace

CIFAR_IMAGES = 1024
"""To calibrate with. In 6 bit `best` loses 0.54 and 0.73 points with 256, and with 2048 0.51 and 0.28: no trend."""
METHOD_ORDER = ("simple", "advanced", "advanced-dw", "best")
TECHNIQUES = ("equalization", "range-search", "probed-ranges", "gptq")
OTHERS = ("bias-correction", "reconstruction")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"


class Page:
    """The page by parts. Only the parts that are run are written anew, after each table, so that nothing is lost."""

    def __init__(self, path: Path, introduction: Sequence[str], order: Sequence[str]):
        self.path, self.introduction, self.order = path, introduction, order
        found = re.split(r"<!-- part: (\w+) -->\n", path.read_text() if path.is_file() else "")
        self.parts = dict(zip(found[1::2], found[2::2], strict=True))
        self.part = ""

    def begin(self, part: str, *lines: str) -> None:
        self.part, self.parts[part] = part, ""
        self.add(*lines)

    def add(self, *lines: str) -> None:
        self.parts[self.part] += "\n".join((*lines, ""))
        ordered = [name for name in self.order if name in self.parts]
        texts = [f"<!-- part: {name} -->\n{self.parts[name]}" for name in ordered]
        self.path.write_text("\n".join(self.introduction) + "\n\n" + "".join(texts))
        print(*lines, sep="\n", flush=True)

    def table(self, outputs: Mapping[str, OutputError], seconds: Mapping[str, float]) -> None:
        """Float first, then each version."""
        first = next(iter(outputs.values()))
        float_top1 = (first.top1_percent or 0) + (first.drop_points or 0)
        self.add(
            "",
            "| | top-1 | drop (95 % interval) | agrees with float | output SQNR | seconds |",
            "|---|---|---|---|---|---|",
        )
        self.add(f"| float | {float_top1:.2f} % | | | | |")
        for name, error in outputs.items():
            low, high = error.drop_interval or (0.0, 0.0)
            took = f"{seconds[name]:.0f}" if name in seconds else ""
            self.add(
                f"| {name} | {error.top1_percent:.2f} % | {error.drop_points:+.2f} ({low:+.2f} to {high:+.2f}) | "
                f"{error.agreement_percent:.2f} % | {error.sqnr_db:.1f} dB | {took} |"
            )


def methods(
    model: nn.Module, calibration: Any, names: Mapping[str, Any], bits: Bits | MacBudget = 8
) -> tuple[dict[str, QuantizedModel], dict[str, float]]:
    """The model calibrated in each way, and how many seconds that took."""
    found, seconds = {}, {}
    for name, method in names.items():
        start = time.perf_counter()
        found[name] = calibrate(model, calibration, method, bits)
        seconds[name] = time.perf_counter() - start
    return found, seconds


def measure(model: nn.Module, data: Any, versions: Mapping[str, QuantizedModel]) -> dict[str, OutputError]:
    """Every version on the same images, against their labels and against float."""
    return run(outputs_steps(Subject(model, data), versions, "measuring"))


def imagenet(data: Path, quick: bool) -> tuple[nn.Module, Tensor, list[Any], str]:
    """The network, calibration images, batches to measure on, and in words which images these are."""
    chosen = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).tolist()
    everything = ImageFolder(data / "imagenet_calib", PREPROCESSING)
    calibration = torch.stack([everything[number][0] for number in chosen[:128]])
    other = Subset(everything, sorted(chosen[128:])[:: 8 if quick else 1])
    evaluation = ImageFolder(data / "imagenet_eval", PREPROCESSING, 100 if quick else None)
    both = [*DataLoader(other, batch_size=16), *DataLoader(evaluation, batch_size=16)]
    words = (
        f"Calibrated on 128 images without labels (the first of a permutation of {len(everything)} with seed 0), "
        f"measured on {len(other)} others of the same folder and {len(evaluation)} of another."
    )
    return build(), calibration, both, words


def lite0(page: Page, data: Path, quick: bool) -> None:
    """EfficientNet-Lite0 by each method."""
    model, calibration, images, words = imagenet(data, quick)
    page.begin("lite0", "## EfficientNet-Lite0 on ImageNet images, 8 bit per tensor", "", words)
    found, seconds = methods(model, calibration, {name: name for name in METHOD_ORDER})
    page.table(measure(model, images, found), seconds)


def reference(page: Page, data: Path, quick: bool) -> None:
    """EfficientNet-Lite0 on the images that TI's tool was measured on, with its ReLU6 kept."""
    everything = ImageFolder(data / "imagenet_calib", PREPROCESSING)
    rows = range(1, 400, 2)  # one image for each class, in their order
    rest = sorted(set(range(len(everything))) - set(rows))
    calibration = torch.stack([everything[row][0] for row in rest[:: len(rest) // 128][:128]])
    page.begin(
        "reference",
        "## Beside the reference tool",
        "",
        f"EfficientNet-Lite0 on the {len(rows)} images of the odd classes up to 399, calibrated on 128 of others.",
        "There TI's tool (xnn.quantize, r8.2, ReLU6 kept a ReLU6) was measured at 85.5 / 89.0 / 89.0 % for simple /",
        "advanced / advanced-dw, where float has 90.5 %, and agrees with float in 91.5 / 95.5 / 96.0 % of the images.",
    )
    model = build()
    found, seconds = methods(model, calibration, {name: name for name in METHOD_ORDER})
    page.table(measure(model, DataLoader(Subset(everything, rows[:: 8 if quick else 1]), 16), found), seconds)


def techniques(page: Page, data: Path, quick: bool) -> None:
    """EfficientNet-Lite0 by each technique alone, by all of the best but one, and with those that it leaves out."""
    model, calibration, images, words = imagenet(data, quick)
    page.begin("techniques", "## What each technique adds", "", words, "Every fourth batch of these.")
    ways = {f"only {name}": [name] for name in (*TECHNIQUES, *OTHERS)}
    ways |= {f"all but {name}": [other for other in TECHNIQUES if other != name] for name in TECHNIQUES}
    ways |= {f"best, and {name}": [*TECHNIQUES, name] for name in OTHERS}
    found, seconds = methods(model, calibration, ways)
    page.table(measure(model, images[::4], found), seconds)


def mixed(page: Page, data: Path, quick: bool) -> None:
    """EfficientNet-Lite0 with some of its layers in 16 bit, chosen by what they gain for their MACs."""
    model, calibration, images, words = imagenet(data, quick)
    page.begin("mixed", "## Some layers in 16 bit", "", words, "Every fourth batch of these.")
    found: dict[str, QuantizedModel] = {}
    seconds: dict[str, float] = {}
    options: tuple[Bits | MacBudget, ...] = 8, MacBudget(2), MacBudget(5), MacBudget(10)
    for bits in options:
        for method in ("simple", "best"):
            name = f"{method}, {bits}" + (" bit" if bits == 8 else "")
            one, took = methods(model, calibration, {name: method}, bits)
            found |= one
            seconds |= took
    page.table(measure(model, images[::4], found), seconds)


def cifar(page: Page, data: Path, quick: bool) -> None:
    """Two CIFAR-10 networks in 8 and in 6 bit, as they are and with channels rescaled."""
    sys.path.insert(0, str(data / "cifar10"))
    models, io = (importlib.import_module(name) for name in ("models", "cifar_io"))
    images = io.load_jpeg(splits=("train", "test"))
    count = 1000 if quick else 10_000
    page.begin("cifar")
    for name, title, normalisation in (
        ("resnet20_jpegft", "ResNet-20", (models.IMAGENET_MEAN, models.IMAGENET_STD)),
        ("mobilenetv2_cifar", "MobileNetV2-style", (models.MEAN, models.STD)),
    ):
        model = models.load(name, str(data / "cifar10" / f"{name}.pt")).eval()
        pictures, labels = (
            normalised(images["test_x"][:count], *normalisation),
            torch.from_numpy(images["test_y"][:count]),
        )
        batches = list(zip(pictures.split(100), labels.long().split(100), strict=True))
        calibration = normalised(images["train_x"][:CIFAR_IMAGES], *normalisation)
        for bits in (8, 6):
            page.add(
                "",
                f"## {title} on CIFAR-10, {bits} bit per tensor",
                "",
                f"{CIFAR_IMAGES} training images calibrate, {count} test images measure.",
            )
            found, seconds = methods(model, calibration, {name: name for name in METHOD_ORDER}, bits)
            page.table(measure(model, batches, found), seconds)
        changed = rescale(model, pictures[:2])
        page.add(
            "",
            f"## {title} with {changed} tensors' channels rescaled, 8 bit per tensor",
            "",
            "By powers of two from 2^-4 to 2^4, so that neighbours lie up to 2^8 apart; float computes the same.",
        )
        found, seconds = methods(model, calibration, {"simple": "simple", "best": "best"})
        page.table(measure(model, batches, found), seconds)


def camvid(page: Page, data: Path, quick: bool) -> None:
    """DeepLabV3+ on CamVid by each method."""
    model = segmentation.trained(data / "camvid", Path("camvid.pt"), epochs=1 if quick else 90)
    train, test = (segmentation.CamVid(data / "camvid", part) for part in ("train", "test"))
    images, labels = (part[: 20 if quick else None] for part in test.all())
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:64].tolist()
    page.begin(
        "camvid",
        "## DeepLabV3+ on CamVid, 8 bit per tensor",
        "",
        f"64 training images calibrate, {len(images)} test images measure: mean IoU of 11 classes, its drop with an",
        "interval by bootstrap over the images. Half-width MobileNetV2 from scratch.",
    )
    found, seconds = methods(model, torch.stack([train[i][0] for i in chosen]), {name: name for name in METHOD_ORDER})
    outputs = measure(model, list(zip(images.split(4), labels.split(4), strict=True)), found)
    with torch.no_grad():
        counts = {name: _confusions(one, images, labels) for name, one in {"float": model, **found}.items()}
    means = {name: float(segmentation.mean_iou_percent(one.sum(0))) for name, one in counts.items()}
    page.add("", "| | mean IoU | drop (95 % interval) | pixels agree with float | output SQNR | seconds |")
    page.add("|---|---|---|---|---|---|", f"| float | {means['float']:.2f} % | | | | |")
    for name, error in outputs.items():
        drop, low, high = segmentation.iou_drop(counts["float"], counts[name])
        page.add(
            f"| {name} | {means[name]:.2f} % | {drop:+.2f} ({low:+.2f} to {high:+.2f}) | "
            f"{error.agreement_percent:.2f} % | {error.sqnr_db:.1f} dB | {seconds[name]:.0f} |"
        )


def _confusions(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """By image."""
    return torch.stack([segmentation.confusion(model(x[None]), y[None]) for x, y in zip(images, labels, strict=True)])


def normalised(images: Any, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def rescale(model: nn.Module, example: Tensor) -> int:
    """Multiply channels where that leaves the network's function alone; returns how many groups of tensors have it."""
    generator = torch.Generator().manual_seed(0)
    plan = plan_quantization(trace(model, example), 8)
    groups = [group for group in channel_groups(plan) if group.ceiling == float("inf")]
    for group in groups:
        factors = 2.0 ** torch.randint(-4, 5, (group.channels,), generator=generator)
        for layer in group.writers:
            for name in _output_scales(model, layer):
                tensor = model.get_parameter(name)
                tensor.data.mul_(factors.reshape(-1, *[1] * (tensor.ndim - 1)))
        for layer in group.readers:
            weight = model.get_submodule(layer.site.path).get_parameter("weight")
            by_group = factors.reshape(layer.groups, 1, -1).expand(-1, len(weight) // layer.groups, -1).flatten(0, 1)
            weight.data.div_(by_group.reshape(*by_group.shape, *[1] * (weight.ndim - 2)))
    return len(groups)


def _output_scales(model: nn.Module, layer: Layer) -> list[str]:
    """The parameters that a layer's output is proportional to."""
    if layer.norm is not None:
        return [layer.norm.weight, layer.norm.bias]
    return [f"{layer.site.path}.{name}" for name, _ in model.get_submodule(layer.site.path).named_parameters()]


PARTS = {
    "lite0": lite0,
    "reference": reference,
    "techniques": techniques,
    "mixed": mixed,
    "cifar": cifar,
    "camvid": camvid,
}
INTRODUCTION = (
    "# Calibration methods, measured",
    "",
    "Written by `python examples/calibration_results.py`. Power-of-two scales, symmetric; all versions of a network on",
    "the same images, the drop paired with float's, with its 95 % interval. Negative drops are gains. Seconds on",
    f"one or two threads of a shared processor. best = {', '.join(METHODS['best'].techniques)}.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("QDIAG_DATA", SHARED)))
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="fewer images, to see that it runs")
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    options = parser.parse_args()
    page = Page(options.output, INTRODUCTION, list(PARTS))
    for name in options.parts:
        PARTS[name](page, options.data, options.quick)


if __name__ == "__main__":
    main()
