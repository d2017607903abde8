"""Boxes and classes of images, from YOLO's text files or COCO's JSON."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

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
    """Labels from a folder of YOLO's text files, or from a file in COCO's format.

    Raises InputError where there are none.
    """
    if source.is_dir():
        if not any(source.glob("*.txt")):
            raise InputError(f"{source} holds no .txt file, one for each image, as YOLO has them.", code="box-labels")
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


class CocoLabels:
    """COCO's JSON. Classes are numbered by their category's id, in order, from 0 on.

    file: with `images`, `annotations` and `categories`. Crowds are left out.
    """

    def __init__(self, file: Path):
        content = _read(file)
        numbers = {id: number for number, id in enumerate(sorted(each["id"] for each in content["categories"]))}
        names = {each["id"]: Path(each["file_name"]).name for each in content["images"]}
        self.found: Mapping[str, list[tuple[list[float], int]]] = defaultdict(list)
        for each in content["annotations"]:
            if not each.get("iscrowd"):
                self.found[names[each["image_id"]]].append((each["bbox"], numbers[each["category_id"]]))

    def __call__(self, image: Path, size: tuple[int, int]) -> Boxes:
        found = self.found.get(image.name, [])
        boxes = torch.tensor([box for box, _ in found]).reshape(len(found), 4)
        return box_convert(boxes, "xywh", "xyxy"), torch.tensor([k for _, k in found]).long()


def _read(file: Path) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        missing = {"images", "annotations", "categories"} - set(content)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read as COCO's JSON: {error}.", code="box-labels") from error
    if missing:
        raise InputError(f"{file} is not in COCO's format: it has no {', '.join(sorted(missing))}.", code="box-labels")
    return content
