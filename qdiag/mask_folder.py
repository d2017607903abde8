"""Images from a folder, each with the class of every pixel.

May import: blocks, contents, detection, files, image_folder, progress, registry and below.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import normalize, pil_to_tensor

from qdiag.errors import InputError
from qdiag.image_folder import IMAGENET_MEAN, IMAGENET_STD, MODES, ImageFolder, check_normalization, opened

NO_LABEL = -1
"""What stands for pixels that do not count."""

CITYSCAPES = "_leftImg8bit", "_gtFine_labelTrainIds"
"""How the names end of its images, and of its masks with the classes that count."""


@dataclass(frozen=True)
class WholeImage:
    """From an image to what the network takes, neither resized nor cut.

    mean, std: of each colour, after scaling to 0 … 1. Raises OptionError where they do not go together.
    """

    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def __post_init__(self) -> None:
        check_normalization(self.mean, self.std)

    def __call__(self, image: Image.Image) -> Tensor:
        """A tensor [colours, H, W]."""
        pixels = pil_to_tensor(image.convert(MODES[len(self.mean)])).float() / 255
        return normalize(pixels, list(self.mean), list(self.std))


class MaskFolder(Dataset[tuple[Tensor, Tensor]]):
    """The images of a folder [colours, H, W], each with its mask [H, W] of class indices, -1 where none counts.

    Masks are PNG files of the image's name, in a folder or in folders inside it, whose pixels are the class indices:
    those of CamVid and Pascal VOC, and Cityscapes' `_gtFine_labelTrainIds`.

    images: the files. preprocessing: what makes a tensor of an image. masks: the folder. ignored: the index of pixels
    that do not count.

    Raises InputError for an image that has no mask.
    """

    def __init__(self, images: ImageFolder, preprocessing: WholeImage, masks: Path, ignored: int = 255):
        self.preprocessing, self.ignored = preprocessing, ignored
        found = {_image_name(path): path for path in sorted(masks.rglob("*.png"))}
        self.items = [(image, _mask(image, found, masks)) for image, _ in images.items]
        self.size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        image_path, mask_path = self.items[number]
        image, mask = opened(image_path), opened(mask_path)
        self._check(image_path, image, mask_path, mask)
        labels = pil_to_tensor(mask)[0].long()
        return self.preprocessing(image), torch.where(labels == self.ignored, NO_LABEL, labels)

    def _check(self, image_path: Path, image: Image.Image, mask_path: Path, mask: Image.Image) -> None:
        if len(mask.getbands()) > 1:
            raise InputError(
                f"the mask {mask_path} holds colours. Its pixels should be class indices: convert it first.",
                code="mask-labels",
            )
        self.size = self.size or image.size
        if not image.size == mask.size == self.size:
            raise InputError(
                f"{image_path} is of {_by(image.size)}, its mask of {_by(mask.size)}, and the first image of "
                f"{_by(self.size)}: all are to be of one size, the network's. Resize them first, masks to the nearest.",
                code="mask-labels",
            )

    def loader(self, batch_size: int = 16) -> DataLoader[tuple[Tensor, Tensor]]:
        """Batches in the folder's order."""
        return DataLoader(self, batch_size=batch_size)


def _image_name(mask: Path) -> str:
    image, ending = CITYSCAPES
    return mask.stem.removesuffix(ending) + image if mask.stem.endswith(ending) else mask.stem


def _mask(image: Path, found: dict[str, Path], masks: Path) -> Path:
    if image.stem not in found:
        raise InputError(
            f"there is no mask of {image.name} in {masks}: a PNG file of that name, {image.stem}.png, whose pixels are "
            "class indices.",
            code="mask-labels",
        )
    return found[image.stem]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
