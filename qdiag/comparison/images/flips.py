"""Images whose class is another one in fixed point than in float."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from qdiag.comparison.images.flips_parts import class_table, confusion_table, flip_facts, flip_gallery, flip_table
from qdiag.comparison.images.thumbnail import address, is_worth_a_picture, pixels
from qdiag.comparison.read_targets import Read
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report, Section

FlipKind = Literal["lost", "won", "changed"]


@dataclass(frozen=True)
class Flip:
    """One image with another answer.

    number: its place in the data, from 0. label: None without one. reference, version: the classes; *_score: of each
    answer by whoever gave it, 0 to 1; None where the outputs are no scores. picture: as a data: address, "" where it
    was not kept or is none.
    """

    number: int
    label: int | None
    reference: int
    version: int
    reference_score: float | None
    version_score: float | None
    picture: str = ""

    @property
    def kind(self) -> FlipKind:
        """Right in float alone, right in the version alone, or neither; without a label only that it changed."""
        if self.label == self.reference:
            return "lost"
        return "won" if self.label == self.version else "changed"

    @property
    def gravity(self) -> tuple[int, float]:
        """The higher the graver: what was lost, and of that what float was surest of."""
        return ("won", "changed", "lost").index(self.kind), self.reference_score or 0.0


@dataclass(frozen=True)
class ClassCount:
    """The images of one class: how many, how many of them are right in float and in the version."""

    label: int
    images: int
    reference_right: int
    version_right: int


@dataclass(frozen=True, repr=False)
class FlippedImages(Displayable):
    """Every image whose class differs between float and one version, the gravest first.

    Attributes:
        model_name: The model's class.
        lane: The version's name.
        images: How many were looked at.
        flips: Those that changed; the first of them with their pictures.
        classes: By label, those that lost most first; empty without labels.
        names: Of the classes, where the data says them.
    """

    model_name: str
    lane: str
    images: int
    flips: tuple[Flip, ...]
    classes: tuple[ClassCount, ...]
    names: tuple[str, ...] = ()

    def count(self, kind: FlipKind) -> int:
        """How many flips are of a kind.

        Args:
            kind: "lost", "won" or "changed".
        """
        return sum(flip.kind == kind for flip in self.flips)

    def name(self, number: int | None) -> str:
        """A class in words.

        Args:
            number: Of the class; None where there is no label.
        """
        return "" if number is None else self.names[number] if 0 <= number < len(self.names) else str(number)

    def report(self) -> Report:
        """How many flipped, the gravest as pictures, every flip, which class is taken for which, and loss by class."""
        rows = [
            (flip, self.name(flip.label), self.name(flip.reference), self.name(flip.version)) for flip in self.flips
        ]
        has_labels = bool(self.classes)
        kinds = {kind: self.count(kind) for kind in ("lost", "won", "changed")}
        every = Section("Every image that changed", (flip_table(rows, self.lane),), collapsed=True)
        gallery = [flip_gallery(rows, self.lane)] if rows else []
        blocks: list[Block] = [flip_facts(self.images, kinds, self.lane, has_labels=has_labels), *gallery, every]
        if rows:
            pairs = Counter((before, after) for _, _, before, after in rows)
            lost = Counter((before, after) for flip, _, before, after in rows if flip.kind == "lost")
            blocks.append(Section("Which class is taken for which", (confusion_table(pairs, lost, self.lane),)))
        if has_labels:
            told = [(self.name(one.label), one.images, one.reference_right, one.version_right) for one in self.classes]
            blocks.append(Section("Loss by class", (class_table(told, self.lane),)))
        title = f"What happened to the images: {self.model_name} in {self.lane}"
        return Report(title, tuple(blocks), "images", self._data())

    def _data(self) -> dict[str, object]:
        return {
            "images": self.images,
            "flips": [{**vars(replace(flip, picture="")), "kind": flip.kind} for flip in self.flips],
            "classes": [vars(one) for one in self.classes],
        }


@dataclass
class FlipSums:
    """Folds batches into flips. most: pictures that are kept."""

    most: int
    images: int = 0
    flips: list[Flip] = field(default_factory=list)
    counts: dict[int, list[int]] = field(default_factory=dict)

    def update(self, images: Tensor | None, read: Read, reference: Tensor, version: Tensor) -> None:
        """One batch; images [N, C, H, W], or None where the network takes something else."""
        before, after = read.decide(reference).tolist(), read.decide(version).tolist()
        labels = [None] * len(before) if read.labels is None else _labels(read.labels)
        scores = _scores(read, reference), _scores(read, version)
        for place, (label, one, other) in enumerate(zip(labels, before, after, strict=True)):
            if label is not None:
                count = self.counts.setdefault(label, [0, 0, 0])
                for index, is_so in enumerate((True, one == label, other == label)):
                    count[index] += is_so
            if one != other:
                sure, unsure = (None if given is None else float(given[place]) for given in scores)
                self._keep(Flip(self.images + place, label, one, other, sure, unsure), images, place)
        self.images += len(before)

    def _keep(self, flip: Flip, images: Tensor | None, place: int) -> None:
        is_grave = is_worth_a_picture(flip.gravity, (one.gravity for one in self.flips if one.picture), self.most)
        drawn = pixels(images[place]) if images is not None and is_grave else None
        self.flips.append(flip if drawn is None else replace(flip, picture=address(drawn)))

    def result(self, model_name: str, lane: str, names: Sequence[str]) -> FlippedImages:
        """The gravest first, the first `most` with their pictures."""
        flips = sorted(self.flips, key=lambda flip: flip.gravity, reverse=True)
        kept = flips[: self.most] + [replace(flip, picture="") for flip in flips[self.most :]]
        classes = [ClassCount(label, *count) for label, count in sorted(self.counts.items())]
        classes.sort(key=lambda one: one.version_right - one.reference_right)
        return FlippedImages(model_name, lane, self.images, tuple(kept), tuple(classes), tuple(names))


def _labels(labels: Tensor) -> list[int | None]:
    return [None if label < 0 else int(label) for label in labels.tolist()]


def _scores(read: Read, output: Tensor) -> Tensor | None:
    """How sure each answer is, 0 to 1: as the network says it, or by softmax of what it gives. None of decisions."""
    if not output.is_floating_point():
        return None
    values = output.detach().double().flatten(1)
    if read.threshold is not None:
        sure = values[:, 0] if read.threshold else values[:, 0].sigmoid()
        return torch.maximum(sure, 1 - sure)
    is_share = bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < 1e-3).all())
    return (values if is_share else values.softmax(1)).max(1).values
