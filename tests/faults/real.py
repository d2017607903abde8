"""Networks with their real weights and images, from a folder that is not part of the project: $QDIAG_DATA."""

import importlib.util
import os
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from qdiag import load_model
from tests.faults.boxes import Boxes
from tests.faults.hosts import CACHE, Host

FOLDER = Path(os.environ.get("QDIAG_DATA", Path(__file__).parents[3] / "shared" / "data"))

MINUTES = 20.0
"""For repairs of a network of full size: `best` takes some, where other work runs beside it."""


def real_host(name: str) -> Host | None:
    """None where the folder is missing."""
    if not (FOLDER / "datasets.py").exists():
        return None
    if name.startswith("cifar"):
        return _cifar(name)
    return _imagenet(name) if name != "yolox_nano" else _yolox()


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cifar(name: str, images: int = 256) -> Host:
    models = _module(FOLDER / "cifar10" / "models.py")
    is_resnet = name == "cifar-resnet20"
    kind = "resnet20_jpegft" if is_resnet else "mobilenetv2_cifar"
    values = (models.IMAGENET_MEAN, models.IMAGENET_STD) if is_resnet else (models.MEAN, models.STD)
    mean, deviation = (torch.tensor(value).view(1, 3, 1, 1) for value in values)
    pixels, labels = _cifar_images()
    x = (pixels / 255 - mean) / deviation

    def raw(images: Tensor) -> Tensor:
        return (images * deviation + mean) * 255

    model = models.load(kind, FOLDER / "cifar10" / f"{kind}.pt")
    return Host(name, model, x[:images], labels[:images], x[images:], raw=raw)


def _cifar_images() -> tuple[Tensor, Tensor]:
    """384 test images; kept beside the trained weights, since reading the archive takes long."""
    path = CACHE / "cifar.pt"
    if not path.exists():
        found = _module(FOLDER / "cifar10" / "cifar_io.py").load_jpeg(splits=("test",))
        pixels, labels = (torch.as_tensor(found[key][:384]) for key in ("test_x", "test_y"))
        CACHE.mkdir(exist_ok=True)
        torch.save((pixels.permute(0, 3, 1, 2).float(), labels.long()), path)
    pixels, labels = torch.load(path)
    return pixels, labels


def _imagenet(name: str, images: int = 64) -> Host:
    data = _module(FOLDER / "datasets.py")
    model, transform = getattr(data, name)()
    shown = data.ImageList("imagenet_eval", transform, indices=range(0, 15 * images, 15))
    ranges = data.ImageList("imagenet_calib", transform, indices=range(0, 960, 30))
    pairs = [shown[i] for i in range(images)]
    labels = torch.tensor([label for _, label in pairs]) + (name == "mobilenet_v2")
    calibration = torch.stack([ranges[i][0] for i in range(32)])
    x = torch.stack([x for x, _ in pairs])
    return Host(name, model, x, labels, calibration, raw=_from_ends, minutes=MINUTES)


def _from_ends(images: Tensor) -> Tensor:
    """Pixels of 0 to 255, of images of -1 to 1."""
    return (images + 1) * 127.5


def _yolox(images: int = 32, for_ranges: int = 16) -> Host:
    data = _module(FOLDER / "datasets.py")
    model = load_model(FOLDER / "yolox_nano" / "yolox_nano_416.onnx")
    shown, ranges = data.Coco128("val2017"), data.Coco128("train2017")
    found = [shown[i] for i in range(images)]
    x, calibration = torch.stack([one[0] for one in found]), torch.stack([ranges[i][0] for i in range(for_ranges)])
    truth = tuple({"boxes": one[2], "labels": one[3]} for one in found)
    boxes = Boxes(truth, partial(data.yolox_detections, size=shown.size))
    return Host("yolox_nano", model, x, None, calibration, "detection", lambda images: images, boxes, MINUTES)
