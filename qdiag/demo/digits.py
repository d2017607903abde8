"""Handwritten digits from scikit-learn, as tensors that the demo's networks take."""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from qdiag.blocks import resize_with
from qdiag.errors import OptionError

Split = Literal["train", "test", "calibration"]

TEST_SPLIT, CALIBRATION_SPLIT = 500, 128  # images
PIXEL_MAX = 16
MEAN, STD = 0.305, 0.376  # of the pixels over PIXEL_MAX


def digits(split: Split = "train") -> tuple[Float[Tensor, "n 1 16 16"], Int64[Tensor, " n"]]:
    """The images and labels of one split: 1297 to train with, 500 to test with, 128 of the former to calibrate with.

    The splits are fixed, and hold the ten digits in equal parts. Images are normalised to mean 0 and deviation 1, and
    enlarged from 8 x 8 to 16 x 16 pixels so that the network can halve them twice. Labels are 0 to 9.

    Raises OptionError for another split.

    >>> images, labels = digits("test")
    >>> images.shape, labels.shape
    (torch.Size([500, 1, 16, 16]), torch.Size([500]))
    """
    if split not in get_args(Split):
        raise OptionError(
            f"No split {split!r}. Use one of {', '.join(map(repr, get_args(Split)))}.", code="unknown-name"
        )
    # imported here, as scikit-learn takes a second that only the demo's users should wait
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels, test_size=TEST_SPLIT, stratify=labels, random_state=0
    )
    x, y = (test_x, test_y) if split == "test" else (train_x, train_y)
    if split == "calibration":
        x, y = x[:CALIBRATION_SPLIT], y[:CALIBRATION_SPLIT]
    images = torch.from_numpy(x).float().view(-1, 1, 8, 8) / PIXEL_MAX
    return resize_with((images - MEAN) / STD, scale_factor=2, mode="bilinear"), torch.from_numpy(y).long()


def digits_loader(split: Split, batch_size: int = 64, *, shuffle: bool = False) -> DataLoader[tuple[Tensor, ...]]:
    """The same split in batches of (images, labels)."""
    return DataLoader(TensorDataset(*digits(split)), batch_size=batch_size, shuffle=shuffle)
