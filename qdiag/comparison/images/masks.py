"""Images whose pixels are of other classes in fixed point than in float."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from qdiag.comparison.decision_sums import OPEN_CLASSES
from qdiag.comparison.images.masks_parts import mask_class_table, mask_facts, mask_gallery, mask_table, panels
from qdiag.comparison.images.thumbnail import address, is_worth_a_picture, pixels
from qdiag.comparison.read_targets import Read
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report, Section

WIDEST = 720
"""Pixels of the four pictures of one image, side by side."""


@dataclass(frozen=True)
class MaskChange:
    """One image.

    number: its place in the data, from 0. changed_percent: of its pixels, of other classes. iou_percent: of the
    version's mask beside float's, the mean over the classes that either has. float_iou_percent, version_iou_percent:
    beside the labels, the mean over the classes that these have; None without labels. picture: image, both masks and
    their difference, as a data: address; "" where it was not kept or is none.
    """

    number: int
    changed_percent: float
    iou_percent: float
    float_iou_percent: float | None = None
    version_iou_percent: float | None = None
    picture: str = ""


@dataclass(frozen=True)
class ClassOverlap:
    """One class over all images: its part of float's pixels, and intersections over unions, all in percent.

    float_iou_percent, version_iou_percent: beside the labels; None without any, or where neither has the class.
    """

    label: int
    pixels_percent: float
    iou_percent: float
    float_iou_percent: float | None
    version_iou_percent: float | None


@dataclass(frozen=True, repr=False)
class ChangedMasks(Displayable):
    """What fixed point makes of a segmenter's masks, the images that changed most first.

    Attributes:
        model_name: The model's class.
        lane: The version's name.
        changes: Of every image.
        classes: Those that occur, those that lost most first.
        names: Of the classes, where the data says them.
    """

    model_name: str
    lane: str
    changes: tuple[MaskChange, ...]
    classes: tuple[ClassOverlap, ...]
    names: tuple[str, ...] = ()

    def report(self) -> Report:
        """How much changed, the worst images with both masks, every image, and every class."""
        names = [self.names[one.label] if one.label < len(self.names) else str(one.label) for one in self.classes]
        blocks = (
            mask_facts(self.changes, self.lane),
            mask_gallery([change for change in self.changes if change.picture], self.lane),
            Section("Every image", (mask_table(self.changes, self.lane),), collapsed=True),
            Section("Classes", (mask_class_table(names, self.classes, self.lane),)),
        )
        data = {
            "images": [vars(replace(change, picture="")) for change in self.changes],
            "classes": [vars(one) for one in self.classes],
        }
        return Report(f"What happened to the images: {self.model_name} in {self.lane}", blocks, "images", data)


@dataclass
class MaskSums:
    """Folds batches into changes. most: pictures that are kept."""

    most: int
    changes: list[MaskChange] = field(default_factory=list)
    overlaps: dict[str, dict[int, Tensor]] = field(default_factory=dict)

    def update(self, images: Tensor | None, read: Read, reference: Tensor, version: Tensor) -> None:
        """One batch; images [N, C, H, W], or None where the network takes something else."""
        before, after = (read.decide(output).cpu() for output in (reference, version))
        for place in range(len(before)):
            label = None if read.labels is None else read.labels[place].cpu()
            change = self._change(before[place], after[place], label, read.classes or OPEN_CLASSES)
            shown = pixels(images[place]) if images is not None and self._is_grave(change) else None
            if shown is not None:
                drawn = panels(shown, before[place].numpy(), after[place].numpy())
                change = replace(change, picture=address(drawn, WIDEST))
            self.changes.append(change)

    def _is_grave(self, change: MaskChange) -> bool:
        kept = (one.changed_percent for one in self.changes if one.picture)
        return change.changed_percent > 0 and is_worth_a_picture(change.changed_percent, kept, self.most)

    def _change(self, before: Tensor, after: Tensor, label: Tensor | None, classes: int) -> MaskChange:
        number = len(self.changes)
        changed = 100 * float((before != after).double().mean())
        between = self._fold("between", before, after, torch.ones_like(before, dtype=torch.bool))
        if label is None:
            return MaskChange(number, changed, between)
        counted = (label >= 0) & (label < classes)
        own, other = (self._fold(name, label, mask, counted) for name, mask in (("float", before), ("version", after)))
        return MaskChange(number, changed, between, own, other)

    def _fold(self, name: str, wanted: Tensor, found: Tensor, counted: Tensor) -> float:
        """The mean over the classes of one pair of masks, in percent; and added to the sums of that name."""
        sums, ious = self.overlaps.setdefault(name, {}), []
        classes = wanted[counted].unique().tolist()
        for label in {*classes, *found[counted].unique().tolist()}:
            one, other = (wanted == label) & counted, (found == label) & counted
            counts = torch.stack([(one & other).sum(), (one | other).sum(), one.sum()]).double()
            sums[label] = sums.get(label, torch.zeros(3, dtype=torch.float64)) + counts
            if label in classes or name == "between":
                ious.append(float(counts[0] / counts[1]))
        return 100 * sum(ious) / len(ious) if ious else 100.0

    def result(self, model_name: str, lane: str, names: Sequence[str]) -> ChangedMasks:
        """The images that changed most first, the first `most` with their pictures."""
        changes = sorted(self.changes, key=lambda change: -change.changed_percent)
        kept = changes[: self.most] + [replace(change, picture="") for change in changes[self.most :]]
        between = self.overlaps.get("between", {})
        total = sum(float(counts[2]) for counts in between.values()) or 1.0
        classes = [
            ClassOverlap(
                *(label, 100 * float(counts[2]) / total, 100 * float(counts[0] / counts[1])),
                *(_iou(self.overlaps.get(name, {}).get(label)) for name in ("float", "version")),
            )
            for label, counts in sorted(between.items())
        ]
        classes.sort(key=_loss, reverse=True)
        return ChangedMasks(model_name, lane, tuple(kept), tuple(classes), tuple(names))


def _iou(counts: Tensor | None) -> float | None:
    return None if counts is None else 100 * float(counts[0] / counts[1])


def _loss(one: ClassOverlap) -> float:
    if one.float_iou_percent is None or one.version_iou_percent is None:
        return 100 - one.iou_percent
    return one.float_iou_percent - one.version_iou_percent
