"""Images from a folder, with labels where the folder has them.

May import: errors.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from qdiag.errors import InputError, OptionError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ARRAY = ".npy"
MODES = {1: "L", 3: "RGB"}  # Pillow's names, by the number of colours

Items = list[tuple[Path, int | None]]


@dataclass(frozen=True)
class Preprocessing:
    """From an image to what the network takes: resize the short side, cut out the centre, normalise.

    resize, size: in pixels; the centre is a square of `size`.
    mean, std: of each colour, after scaling to 0 … 1; three numbers make colour images, one makes grey ones.
    interpolation: as torchvision calls it, "bilinear" or "bicubic" for example.

    Raises OptionError for values that do not go together.
    """

    resize: int = 256
    size: int = 224
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        modes = [mode.value for mode in InterpolationMode]
        if self.interpolation not in modes:
            raise OptionError(
                f"interpolation {self.interpolation!r}: it is one of {', '.join(modes)}.", code="option-value"
            )
        if not 0 < self.size <= self.resize:
            raise OptionError(
                f"size {self.size} and resize {self.resize}: the square that is cut out must fit into the resized "
                "image, or its border would be black. Give a resize of at least the size.",
                code="image-size",
            )
        check_normalization(self.mean, self.std)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """A tensor [colours, size, size]."""
        steps = transforms.Compose(
            [
                transforms.Resize(self.resize, InterpolationMode(self.interpolation)),
                transforms.CenterCrop(self.size),
                transforms.ToTensor(),
                transforms.Normalize(self.mean, self.std),
            ]
        )
        tensor: torch.Tensor = steps(image.convert(MODES[len(self.mean)]))
        return tensor


Preprocess = Preprocessing | Callable[[Image.Image], torch.Tensor]
"""What makes a tensor of an image."""


class ImageFolder(Dataset[Any]):
    """The images of a folder: a tensor [colours, H, W] each, with its class index where there are labels.

    The folder holds one of:
    - `labels.csv`, with columns file and class_index; the files lie in `images/`, or beside the table;
    - one folder for each class; the classes are numbered in alphabetical order, as torchvision does;
    - images alone, which have no labels.

    In place of an image, a `.npy` file is an array [colours, H, W] that the network takes as it is.

    limit: take so many images, evenly spread over the folder, so that a few are of many classes.
    items: the files that were taken, each with its class index or None. labels: where the labels come from.

    Raises InputError where the folder holds none of these.
    """

    def __init__(self, folder: str | Path, preprocessing: Preprocess, limit: int | None = None):
        if limit is not None and limit < 1:
            raise OptionError(f"limit {limit}: at least one image is needed.", code="at-least-one")
        self.folder, self.preprocessing = Path(folder), preprocessing
        everything, self.labels = _listing(self.folder)
        self.available = len(everything)
        count = min(limit or self.available, self.available)
        self.items = [everything[number * self.available // count] for number in range(count)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        path, label = self.items[number]
        tensor = _array(path) if path.suffix.lower() == ARRAY else self.preprocessing(opened(path))
        return tensor if label is None else (tensor, label)

    def __str__(self) -> str:
        return f"{len(self)} of {self.available} images in {self.folder}, {self.labels}"

    def loader(self, batch_size: int = 16) -> DataLoader[Any]:
        """Batches in the folder's order."""
        return DataLoader(self, batch_size=batch_size)


def check_normalization(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises OptionError where they do not go together."""
    if len(mean) not in MODES or len(std) != len(mean) or min(std) <= 0:
        raise OptionError(
            f"mean {tuple(mean)} and std {tuple(std)}: give three numbers each, or one each for grey images, and no "
            "std of 0.",
            code="mean-and-std",
        )


def opened(path: Path) -> Image.Image:
    """An image of a file, its pixels read. Raises InputError where that fails."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except OSError as error:  # also Pillow's UnidentifiedImageError
        raise InputError(
            f"cannot read the image {path}: {error}. Remove it, or save it anew.", code="unreadable-image"
        ) from error


def _array(path: Path) -> torch.Tensor:
    """An image that NumPy saved, ready for the network, in float32."""
    try:
        array = np.load(path, allow_pickle=False)
        tensor = torch.from_numpy(np.asarray(array, np.float32))
    except (OSError, ValueError, EOFError, TypeError) as error:
        raise InputError(f"cannot read the array {path}: {error}. Save it anew.", code="unreadable-image") from error
    if tensor.ndim != 3:
        raise InputError(
            f"{path} holds an array {list(array.shape)}. Save one for each image, [C, H, W], as the network takes it.",
            code="unreadable-image",
        )
    return tensor


def _listing(folder: Path) -> tuple[Items, str]:
    """Every image with its label, and in words where the labels come from."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}. Give one with images in it.", code="no-folder")
    table = folder / "labels.csv"
    if table.is_file():
        return _listed(table), "labels from labels.csv"
    loose = _images_in(folder)
    # An empty folder counts as a class too: without it, all later ones would get the number of the one before.
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    filled = {path.name: images for path in folders if (images := _images_in(path))}
    if loose and filled:
        raise InputError(
            f"{folder} holds images as well as folders with images ({', '.join(filled)[:200]}). "
            "Name one that holds either images alone, or one folder for each class.",
            code="mixed-folder",
        )
    if len(filled) > 1:
        numbered = [(path, number) for number, one in enumerate(folders) for path in filled.get(one.name, ())]
        return [*numbered], f"labels from {len(folders)} class folders"
    images = loose or [path for paths in filled.values() for path in paths]
    if not images:
        raise InputError(
            f"no image in {folder}: not one file that ends in {', '.join(sorted(SUFFIXES))}.", code="no-images"
        )
    return [(path, None) for path in images], "without labels"


def _listed(table: Path) -> Items:
    with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
        rows = list(csv.DictReader(file))
    if not rows or not {"file", "class_index"} <= set(rows[0]):
        raise InputError(
            f"{table} needs the columns file and class_index, and a row for each image.", code="labels-table"
        )
    images = table.parent / "images"
    base = images if images.is_dir() else table.parent
    return [_row(row, base, f"{table}, line {line}") for line, row in enumerate(rows, start=2)]


def _row(row: dict[str, str], base: Path, where: str) -> tuple[Path, int]:
    path = base / row["file"]
    if not path.is_file():
        raise InputError(f"{where}: there is no file {path}.", code="labels-table")
    try:
        return path, int(row["class_index"])
    except (TypeError, ValueError):  # None where the row is too short
        raise InputError(
            f"{where}: class_index is {row['class_index']!r}. Give a whole number: which output stands for the class.",
            code="labels-table",
        ) from None


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (*SUFFIXES, ARRAY) and path.is_file())
