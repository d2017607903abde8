"""The published rows of 8-bit power-of-two quantization, with qdiag's numbers beside them.

    python examples/published_rows.py resnet50     --data IMAGENET
    python examples/published_rows.py mobilenet_v2 --data IMAGENET
    python examples/published_rows.py deeplabv3plus --data CITYSCAPES --weights FILE

IMAGENET holds val/ (and train/, to calibrate with; else val/'s own images do, without their labels), each with a folder
of JPEGs for every class, in the order of torchvision's class indices. The weights are torchvision's IMAGENET1K_V1,
downloaded unless --weights names a file.
CITYSCAPES holds leftImg8bit/ and gtFine/, each with train/ and val/. For DeepLabV3+ on MobileNetV2 torchvision has no
weights: --weights is the state_dict of `camvid.DeepLab(19, width=1.0)`, trained as examples/camvid.py does it.

Published: float, simple, advanced, advanced-dw and QAT of TI's edgeai-torchvision (docs/pixel2pixel/Quantization.md).
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import camvid
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import Cityscapes, ImageFolder
from torchvision.transforms import functional as images

from qdiag.comparison.streaming import outputs_steps
from qdiag.progress import run
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject

METHODS = ("simple", "advanced", "advanced-dw", "best")
PUBLISHED = {
    "resnet50": ("top-1", 76.15, 75.56, 75.56, 75.56, 76.05),
    "mobilenet_v2": ("top-1", 71.89, 67.77, 68.39, 69.34, 70.74),
    "deeplabv3plus": ("mean IoU", 69.13, 61.71, 67.95, 68.47, 68.44),
}
SIZE = (384, 768)
IGNORED = 255
TRAIN_IDS = torch.tensor(
    [c.train_id if c.train_id < IGNORED and c.id >= 0 else IGNORED for c in Cityscapes.classes[:-1]]
)
"""Of labelIds, which start at 0; the last of Cityscapes' classes is -1, a licence plate."""


@dataclass(frozen=True)
class Row:
    """A float network, images to calibrate with, and (images, labels) to measure on."""

    model: nn.Module
    calibration: Dataset[Any]
    measured: Dataset[Any]
    accuracies: Callable[[nn.Module, Mapping[str, QuantizedModel], DataLoader[Any]], dict[str, float]]


def classifier(name: str, data: Path, weights: Path | None) -> Row:
    """A network of torchvision, on an ImageNet folder."""
    known = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    model = torchvision.models.get_model(name, weights=None if weights else known)
    _load(model, weights)
    transform = known.transforms()
    measured = ImageFolder(str(data / "val"), transform)
    other = data / "train"
    return Row(model, ImageFolder(str(other), transform) if other.is_dir() else measured, measured, _top1)


def segmenter(data: Path, weights: Path | None) -> Row:
    """DeepLabV3+ on Cityscapes, at 768 x 384."""
    if weights is None:
        raise SystemExit("deeplabv3plus has no published weights in torchvision: give --weights.")
    model = camvid.DeepLab(19, width=1.0)
    _load(model, weights)
    return Row(model, cityscapes(data, "train"), cityscapes(data, "val"), _mean_iou)


def cityscapes(data: Path, part: str) -> Cityscapes:
    """Images [3, 384, 768], normalised, with labels [384, 768]: 19 classes, 255 for what is ignored."""
    return Cityscapes(str(data), part, target_type="semantic", transforms=_at_size)


def _load(model: nn.Module, weights: Path | None) -> None:
    if weights is not None:
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))


def _at_size(image: Any, label: Any) -> tuple[Tensor, Tensor]:
    """The image [3, 384, 768], normalised; the label's training indices at the same size."""
    small = images.normalize(
        images.to_tensor(images.resize(image, list(SIZE))), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    ids = images.pil_to_tensor(label)[None].float()
    return small, TRAIN_IDS[F.interpolate(ids, SIZE)[0, 0].long()]


def _top1(model: nn.Module, versions: Mapping[str, QuantizedModel], loader: DataLoader[Any]) -> dict[str, float]:
    errors = run(outputs_steps(Subject(model, loader), versions, "measuring"))
    found = {name: error.top1_percent or 0.0 for name, error in errors.items()}
    first = next(iter(errors.values()))
    return {"float": (first.top1_percent or 0.0) + (first.drop_points or 0.0), **found}


@torch.no_grad()
def _mean_iou(model: nn.Module, versions: Mapping[str, QuantizedModel], loader: DataLoader[Any]) -> dict[str, float]:
    counts: dict[str, Any] = {}
    for x, y in loader:
        for name, version in ({"float": model} | dict(versions)).items():
            counts[name] = counts.get(name, 0) + camvid.confusion(version(x), y, IGNORED)
    return {name: float(camvid.mean_iou_percent(one)) for name, one in counts.items()}


def spread(data: Dataset[Any], count: int | None) -> Dataset[Any]:
    """So many of the images, from all over."""
    total = len(data)  # type: ignore[arg-type]
    return data if count is None or count >= total else Subset(data, range(0, total, total // count)[:count])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=list(PUBLISHED))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--calibration", type=int, default=128, help="images to calibrate with")
    parser.add_argument("--images", type=int, help="measure on so many; on all if not given")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args(arguments)
    segments = options.network == "deeplabv3plus"
    row = (
        segmenter(options.data, options.weights)
        if segments
        else classifier(options.network, options.data, options.weights)
    )
    model = row.model.eval()
    calibration = DataLoader(spread(row.calibration, options.calibration), options.batch)
    measured = DataLoader(spread(row.measured, options.images), options.batch)
    versions = {name: calibrate(model, calibration, name) for name in options.methods}
    found = row.accuracies(model, versions, measured)
    print("\n".join(table(options.network, found, len(measured.dataset))))  # type: ignore[arg-type]


def table(network: str, found: dict[str, float], count: int) -> Iterator[str]:
    """Markdown."""
    metric, *published = PUBLISHED[network]
    theirs = dict(zip(("float", *METHODS[:3], "QAT"), published, strict=True))
    yield f"{network}, 8 bit, powers of two, per tensor, {metric} in %, {count} images; in brackets what is lost"
    yield ""
    yield "| | published | qdiag |"
    yield "|---|---|---|"
    for name in ("float", *METHODS, "QAT"):
        yield f"| {name} | {_cell(theirs, name)} | {_cell(found, name)} |"


def _cell(values: Mapping[str, float], name: str) -> str:
    lost = "" if name == "float" or name not in values else f" ({values['float'] - values[name]:.2f})"
    return f"{values[name]:.2f}{lost}" if name in values else ""


if __name__ == "__main__":
    main()
