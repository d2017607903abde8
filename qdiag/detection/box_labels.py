"""Boxes and classes of images, from YOLO's text files, Pascal VOC's XML or COCO's JSON."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_convert

from qdiag.errors import InputError

Boxes = tuple[Float[Tensor, "n 4"], Int[Tensor, " n"]]
"""Corners x1 y1 x2 y2 in pixels [N, 4], and classes [N]."""


class BoxLabels(Protocol):
    """What is to be found in each image."""

    def __call__(self, image: Path, size: tuple[int, int]) -> Boxes:
        """Of an image of this (width, height). Raises InputError for labels that cannot be read."""
        ...


def box_labels(source: Path) -> BoxLabels:
    """Labels from a folder of YOLO's text files or Pascal VOC's XML files, or from a file in COCO's format.

    Raises InputError where there are none.
    """
    if source.is_dir():
        if any(source.glob("*.xml")):
            return VocLabels(source)
        if not any(source.glob("*.txt")):
            raise InputError(
                f"{source} holds no .txt file, one for each image, as YOLO has them, and no .xml file of Pascal VOC's.",
                code="box-labels",
            )
        return YoloLabels(source)
    return CocoLabels(source)


class YoloLabels:
    """A text file for each image, of its name: `class x y width height` in each line, by parts of the image.

    folder: of the files. An image without a file holds nothing.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, image: Path, size: tuple[int, int]) -> Boxes:
        path = self.folder / f"{image.stem}.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        try:
            rows = [[float(part) for part in line.split()[:5]] for line in lines if line.strip()]
            found = torch.tensor(rows).reshape(len(rows), 5)
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"{path}: {error}. Each line is `class x y width height`, by parts of the image.", code="box-labels"
            ) from error
        return box_convert(found[:, 1:] * torch.tensor(size * 2), "cxcywh", "xyxy"), found[:, 0].long()


VOC = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]
"""Pascal VOC's classes, in their order."""


class VocLabels:
    """Pascal VOC's XML, a file for each image, of its name.

    Classes are numbered as Pascal VOC has them, or, where there are others, in alphabetical order. Objects that are
    marked as difficult are left out.

    folder: of the files. An image without a file holds nothing.
    """

    def __init__(self, folder: Path):
        self.found = {path.stem: list(_objects(path)) for path in sorted(folder.glob("*.xml"))}
        names = {name for objects in self.found.values() for name, _ in objects}
        self.classes = VOC if names <= set(VOC) else sorted(names)

    def __call__(self, image: Path, size: tuple[int, int]) -> Boxes:
        found = self.found.get(image.stem, [])
        boxes = torch.tensor([box for _, box in found]).reshape(len(found), 4)
        return boxes, torch.tensor([self.classes.index(name) for name, _ in found]).long()


def _objects(file: Path) -> Iterator[tuple[str, list[float]]]:
    """Each object's class and its corners from 0 on; the file counts pixels from 1 on."""
    try:
        for each in ElementTree.parse(file).getroot().iter("object"):
            if each.findtext("difficult", "0") == "0":
                x1, y1, x2, y2 = (float(each.findtext(f"bndbox/{end}", "")) for end in ("xmin", "ymin", "xmax", "ymax"))
                yield each.findtext("name", ""), [x1 - 1, y1 - 1, x2, y2]
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(
            f"{file}: {error}. Each object has a name and a bndbox of xmin, ymin, xmax and ymax.", code="box-labels"
        ) from error


class CocoLabels:
    """COCO's JSON. Classes are numbered by their category's id, in order, from 0 on.

    file: with `images`, `annotations` and `categories`. Crowds are left out.
    """

    def __init__(self, file: Path):
        content = _read(file)
        try:
            self.found = _found(content)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{file} is not in COCO's format: nothing stands for {error}.", code="box-labels"
            ) from error

    def __call__(self, image: Path, size: tuple[int, int]) -> Boxes:
        found = self.found.get(image.name, [])
        boxes = torch.tensor([box for box, _ in found], dtype=torch.float32).reshape(len(found), 4)
        return box_convert(boxes, "xywh", "xyxy"), torch.tensor([k for _, k in found]).long()


def _found(content: Any) -> Mapping[str, list[tuple[list[float], int]]]:
    """By the image's name, each box with its class."""
    numbers = {id: number for number, id in enumerate(sorted(each["id"] for each in content["categories"]))}
    names = {each["id"]: Path(each["file_name"]).name for each in content["images"]}
    found: Mapping[str, list[tuple[list[float], int]]] = defaultdict(list)
    for each in content["annotations"]:
        if not each.get("iscrowd"):
            found[names[each["image_id"]]].append((each["bbox"], numbers[each["category_id"]]))
    return found


def _read(file: Path) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        missing = {"images", "annotations", "categories"} - set(content)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read as COCO's JSON: {error}.", code="box-labels") from error
    if missing:
        raise InputError(f"{file} is not in COCO's format: it has no {', '.join(sorted(missing))}.", code="box-labels")
    return content
