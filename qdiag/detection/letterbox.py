"""An image scaled to fit into a square, its proportions kept, and the rest filled."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from qdiag.errors import OptionError


class Letterboxes(StrEnum):
    """Families of detectors, by how they take images."""

    YOLOX = "yolox"
    YOLO = "yolo"


@dataclass(frozen=True)
class Letterbox:
    """From an image to what a detector takes.

    Attributes:
        size: Of the square, in pixels.
        colours: "rgb" or "bgr", in the order that the network takes.
        high: What white is before mean and std: 255, or 1.
        mean: Subtracted from each colour, in the network's order.
        std: Divided by.
        fill: Grey of the rest, 0 to 255.
        is_centred: The image in the middle; else at the top left.
    """

    size: int = 640
    colours: str = "rgb"
    high: float = 1.0
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    fill: int = 114
    is_centred: bool = True

    def __post_init__(self) -> None:
        """Raises OptionError for a size below one or other colours."""
        if self.size < 1 or self.colours not in ("rgb", "bgr"):
            raise OptionError(
                f"letterbox of size {self.size} in {self.colours!r}: give a size in pixels, and 'rgb' or 'bgr'.",
                code="option-value",
            )

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 size size"]:
        """A tensor [3, size, size]."""
        _, (left, top), (width, height) = self.place(image.size)
        resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.full((3, self.size, self.size), float(self.fill))
        pixels[:, top : top + height, left : left + width] = pil_to_tensor(resized).float()
        ordered = pixels.flip(0) if self.colours == "bgr" else pixels
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (ordered * (self.high / 255) - mean) / std

    def place(self, size: tuple[int, int]) -> tuple[float, tuple[int, int], tuple[int, int]]:
        """The scale, the left and top edge, and width and height of an image of this (width, height) in the square.

        >>> Letterbox(416).place((832, 416))
        (0.5, (0, 104), (416, 208))
        """
        scale = min(self.size / size[0], self.size / size[1])
        width, height = (max(1, int(length * scale)) for length in size)
        room = self.size - width, self.size - height
        return scale, (room[0] // 2, room[1] // 2) if self.is_centred else (0, 0), (width, height)

    def boxes(self, boxes: Float[Tensor, "n 4"], size: tuple[int, int]) -> Float[Tensor, "n 4"]:
        """Corners [N, 4] in an image of this size, as x1 y1 x2 y2 in the square."""
        _, (left, top), (width, height) = self.place(size)
        factor = torch.tensor([width / size[0], height / size[1]] * 2)
        return boxes * factor + torch.tensor([left, top] * 2)


LETTERBOXES = {
    "yolox": Letterbox(416, "bgr", 255.0, is_centred=False),
    "yolo": Letterbox(640, "rgb", 1.0),
}
"""By the family of detectors: YOLOX's own, and that of Ultralytics' YOLOs."""
