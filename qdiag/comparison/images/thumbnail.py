"""An input of the network as a small picture."""

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LARGEST = 160
"""Pixels of the longer side."""
COLOURS = {1: "L", 3: "RGB"}
Pixels = np.ndarray
"""[height, width, 3], whole numbers from 0 to 255."""


def pixels(image: Tensor) -> Pixels | None:
    """What a network takes, [C, H, W], as a picture; None where it is none.

    One channel is grey, three are red, green and blue. How the image was normalized is not known: its least value
    becomes black, its greatest white.
    """
    if image.ndim != 3 or image.shape[0] not in COLOURS or min(image.shape[1:]) < 2:
        return None
    values = image.detach().float().cpu()
    low, high = float(values.min()), float(values.max())
    scaled = (255 * (values - low) / ((high - low) or 1.0)).round().to(torch.uint8)
    return scaled.expand(3, -1, -1).permute(1, 2, 0).numpy()


def address(drawn: Pixels, largest: int = LARGEST) -> str:
    """A picture as a data: address, made smaller where it is larger."""
    image = Image.fromarray(drawn)
    image.thumbnail((largest, largest), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    few = image.getcolors(64) is not None
    image.save(buffer, "PNG" if few or max(image.size) <= 48 else "JPEG", quality=82, optimize=True)
    kind = "png" if buffer.getvalue()[:4] == b"\x89PNG" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def is_worth_a_picture(gravity: Any, kept: Iterable[Any], most: int) -> bool:
    """Whether it is among the `most` gravest. kept: those that have a picture so far; the higher the graver."""
    before = sorted(kept)
    return most > 0 and (len(before) < most or gravity > before[-most])


def side_by_side(parts: Sequence[Pixels], gap: int = 4) -> Pixels:
    """Pictures of one height in one, with a gap between them."""
    between = np.full((parts[0].shape[0], gap, 3), 255, np.uint8)
    row = [piece for part in parts for piece in (between, part)][1:]
    return np.concatenate(row, 1)
