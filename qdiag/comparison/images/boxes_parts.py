"""The parts of a report on changed boxes: figures, pictures side by side, and tables."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from qdiag.comparison.images.thumbnail import Pixels, side_by_side
from qdiag.report.elements import Fact, Facts, Gallery, Picture
from qdiag.report.table import Column, Table

LONGEST = 320
SHARED, ONE_SIDED = (0, 158, 115), (213, 94, 0)
Drawn = Sequence[tuple[Sequence[float], bool]]
"""Corners, and whether the other one has the box too."""
Counts = tuple[int, int, int, int, int]
"""Number of the image, boxes of float, of the version, lost, found."""


def panels(image: Pixels, before: Drawn, after: Drawn) -> Pixels:
    """Float's boxes and the version's over the same image: thin where both have them, thick where one alone has."""
    return side_by_side([_with_boxes(image, boxes) for boxes in (before, after)])


def _with_boxes(image: Pixels, boxes: Drawn) -> Pixels:
    high, wide = image.shape[:2]
    scale = min(1.0, LONGEST / max(high, wide))
    drawn = Image.fromarray(image).resize((max(1, round(wide * scale)), max(1, round(high * scale))))
    pen = ImageDraw.Draw(drawn)
    for corners, is_shared in sorted(boxes, key=lambda box: not box[1]):
        left, top, right, bottom = (value * scale for value in corners)
        ends = min(left, right), min(top, bottom), max(left, right), max(top, bottom)
        pen.rectangle(ends, outline=SHARED if is_shared else ONE_SIDED, width=1 if is_shared else 3)
    return np.asarray(drawn)


def box_facts(counts: Sequence[Counts], lane: str) -> Facts:
    """Over all images."""
    before, after, lost, found = (sum(row[place] for row in counts) for place in range(1, 5))
    return Facts(
        (
            Fact("images", len(counts)),
            Fact("boxes, float", before),
            Fact(f"boxes, {lane}", after),
            Fact("lost", lost, level="error" if lost else None),
            Fact("found anew", found),
        )
    )


def box_gallery(shown: Sequence[tuple[int, int, int, str]], lane: str, sure: float, overlap: float) -> Gallery:
    """The images with most changes. shown: number, lost, found, picture."""
    pictures = tuple(
        Picture(picture, f"image {number}", f"{lost} lost, {found} found anew")
        for number, lost, found, picture in shown
    )
    caption = (
        f"Float on the left, {lane} on the right: thin and green where both have a box, thick and red where one alone "
        f"has. Boxes count from a score of {sure:g} on; two are the same from an overlap of {overlap:g} on."
    )
    return Gallery(pictures, "Images with other boxes", caption, width=420)


def box_table(counts: Sequence[Counts], lane: str) -> Table:
    """One row for each image."""
    columns = (
        Column("image", "image", "", "", "right", "its place in the data, from 0"),
        Column("float_boxes", "boxes, float", "", "", "right"),
        Column("version_boxes", f"boxes, {lane}", "", "", "right"),
        Column("lost", "lost", "", "", "right", "boxes that only float has"),
        Column("found", "found anew", "", "", "right", "boxes that only fixed point has"),
    )
    return Table(columns, tuple(counts), key="boxes")


def box_class_table(classes: Sequence[tuple[str, int, int, int]], lane: str) -> Table:
    """One row for each class, over all images."""
    columns = (
        Column("label", "class"),
        Column("float_boxes", "boxes, float", "", "", "right"),
        Column("lost", f"lost in {lane}", "", "", "right"),
        Column("found", "found anew", "", "", "right"),
    )
    return Table(columns, tuple(classes), key="classes")
