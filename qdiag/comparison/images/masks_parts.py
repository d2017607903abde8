"""The parts of a report on changed masks: figures, pictures with both masks, and tables."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from qdiag.comparison.images.thumbnail import Pixels, side_by_side
from qdiag.report.cells import Cell
from qdiag.report.elements import Fact, Facts, Gallery, Picture
from qdiag.report.table import Column, Table

SHARE = 0.55
"""Of the class's colour where a mask lies over an image."""
HIGHEST = 176
CHANGED = (213, 94, 0)
PALETTE = np.array(
    [(128, 128, 128), (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (240, 228, 66)],
    np.uint8,
)
"""Okabe and Ito's, without the one that marks what changed; further classes begin anew, darker."""


class MaskRow(Protocol):
    """What is shown of one image."""

    @property
    def number(self) -> int: ...
    @property
    def changed_percent(self) -> float: ...
    @property
    def iou_percent(self) -> float: ...
    @property
    def float_iou_percent(self) -> float | None: ...
    @property
    def version_iou_percent(self) -> float | None: ...
    @property
    def picture(self) -> str: ...


class ClassRow(Protocol):
    """What is shown of one class."""

    @property
    def pixels_percent(self) -> float: ...
    @property
    def iou_percent(self) -> float: ...
    @property
    def float_iou_percent(self) -> float | None: ...
    @property
    def version_iou_percent(self) -> float | None: ...


def panels(image: Pixels, before: np.ndarray, after: np.ndarray) -> Pixels:
    """The image, float's mask over it, the version's, and what differs. Masks may be of another size than the image."""
    size = _fitting(image.shape[1], image.shape[0])
    shown = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    masks = [_resized(mask, size) for mask in (before, after)]
    changed = _resized(before != after, size)
    marked = np.where(changed[..., None] > 0, np.array(CHANGED), shown // 3 + 30).astype(np.uint8)
    return side_by_side([shown, *(_over(shown, mask) for mask in masks), marked])


def _fitting(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, HIGHEST / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask.astype(np.int32), "I").resize(size, Image.Resampling.NEAREST))


def _over(image: Pixels, mask: np.ndarray) -> Pixels:
    rounds = mask // len(PALETTE)
    colours = PALETTE[mask % len(PALETTE)] / (1 + 0.5 * rounds[..., None])
    mixed: Pixels = (SHARE * colours + (1 - SHARE) * image).astype(np.uint8)
    return mixed


def mask_facts(changes: Sequence[MaskRow], lane: str) -> Facts:
    """How much changed over all images."""
    changed = sum(change.changed_percent for change in changes) / max(1, len(changes))
    most = max((change.changed_percent for change in changes), default=0.0)
    return Facts(
        (
            Fact("images", len(changes)),
            Fact(f"{lane}: pixels of another class", changed, "%", ".2f"),
            Fact("in the worst image", most, "%", ".1f"),
        )
    )


def mask_gallery(shown: Sequence[MaskRow], lane: str) -> Gallery:
    """The images that changed most: image, float, version, difference."""
    pictures = tuple(Picture(change.picture, f"image {change.number}", _told(change, lane)) for change in shown)
    caption = f"From left to right: the image, float's classes, {lane}'s, and in red the pixels that differ."
    return Gallery(pictures, "Images that changed most", caption, width=480)


def _told(change: MaskRow, lane: str) -> str:
    labelled = ""
    if change.float_iou_percent is not None and change.version_iou_percent is not None:
        labelled = (
            f" · IoU with the labels: float {change.float_iou_percent:.1f}, {lane} {change.version_iou_percent:.1f} %"
        )
    return f"**{change.changed_percent:.1f} %** of the pixels · IoU with float {change.iou_percent:.1f} %{labelled}"


def mask_table(changes: Sequence[MaskRow], lane: str) -> Table:
    """One row for each image."""
    columns = (
        Column("image", "image", "", "", "right", "its place in the data, from 0"),
        Column("changed_percent", "changed", "%", ".2f", "right", "of its pixels"),
        *_overlap_columns(lane),
    )
    return Table(columns, tuple((one.number, one.changed_percent, *_ious(one)) for one in changes), key="masks")


def mask_class_table(names: Sequence[str], classes: Sequence[ClassRow], lane: str) -> Table:
    """One row for each class, over all images."""
    columns = (
        Column("label", "class"),
        Column("pixels_percent", "pixels", "%", ".2f", "right", "its part in float's masks"),
        *_overlap_columns(lane),
    )
    rows = tuple((name, one.pixels_percent, *_ious(one)) for name, one in zip(names, classes, strict=True))
    return Table(columns, rows, key="classes")


def _overlap_columns(lane: str) -> tuple[Column, ...]:
    return (
        Column("iou_percent", "IoU with float", "%", ".1f", "right", "intersection over union of both masks"),
        Column("float_iou_percent", "IoU, float", "%", ".1f", "right", "with the labels"),
        Column("version_iou_percent", f"IoU, {lane}", "%", ".1f", "right", "with the labels"),
    )


def _ious(one: Any) -> tuple[Cell, ...]:
    return one.iou_percent, one.float_iou_percent, one.version_iou_percent
