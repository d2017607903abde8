"""Images from a folder, with labels where the folder has them.

May import: errors.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from qdiag.errors import InputError, OptionError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """From an image file to what the network takes: resize the short side, crop the centre, normalise.

    resize, size: in pixels. mean, std: of each colour, after scaling to 0 … 1.
    """

    resize: int = 256
    size: int = 224
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    interpolation: str = "bilinear"

    def transform(self) -> transforms.Compose:
        """Raises OptionError for an interpolation that torchvision does not have, and for mean and std of 0 values."""
        try:
            mode = InterpolationMode(self.interpolation)
        except ValueError:
            known = ", ".join(mode.value for mode in InterpolationMode)
            raise OptionError(f"interpolation {self.interpolation!r}: it is one of {known}.") from None
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std):
            raise OptionError(f"mean {self.mean} and std {self.std}: give three numbers each, and no std of 0.")
        return transforms.Compose(
            [
                transforms.Resize(self.resize, mode),
                transforms.CenterCrop(self.size),
                transforms.ToTensor(),
                transforms.Normalize(self.mean, self.std),
            ]
        )


class ImageFolder(Dataset[Any]):
    """The images of a folder: a tensor [3, H, W] each, with its class index where there are labels.

    The folder holds `labels.csv` (columns file and class_index, the files lying beside it or in images/); or one folder
    for each class, in alphabetical order; or images alone, which have no labels.

    limit: take so many, spread evenly over the folder. Raises InputError where there is no folder, or no image in it.
    """

    def __init__(self, folder: str | Path, preprocessing: Preprocessing, limit: int | None = None):
        self.folder, self.transform = Path(folder), preprocessing.transform()
        if not self.folder.is_dir():
            raise InputError(f"there is no folder {self.folder}. Give one with images in it.")
        items = _listed(self.folder) or _by_class(self.folder) or [(path, None) for path in _images_in(self.folder)]
        if not items:
            raise InputError(f"no image in {self.folder}: not one file that ends in {', '.join(sorted(SUFFIXES))}.")
        step = max(1, len(items) // limit) if limit else 1
        self.items = items[::step][:limit]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        path, label = self.items[number]
        try:
            with Image.open(path) as image:
                tensor: torch.Tensor = self.transform(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise InputError(f"cannot read the image {path}: {error}. Remove it, or save it anew.") from error
        return tensor if label is None else (tensor, label)

    def loader(self, batch_size: int = 16) -> DataLoader[Any]:
        """Batches in the folder's order."""
        return DataLoader(self, batch_size=batch_size)


def _listed(folder: Path) -> list[tuple[Path, int | None]]:
    table = folder / "labels.csv"
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"file", "class_index"} <= set(rows[0]):
        raise InputError(f"{table} needs the columns file and class_index.")
    base = folder / "images" if (folder / "images").is_dir() else folder
    return [(base / row["file"], int(row["class_index"])) for row in rows]


def _by_class(folder: Path) -> list[tuple[Path, int | None]]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and _images_in(path))
    return [(path, number) for number, name in enumerate(classes) for path in _images_in(name)]


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
