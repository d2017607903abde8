"""Images in which fixed point finds other boxes than float."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor
from torchvision.ops import box_iou

from qdiag.comparison.images.boxes_parts import box_class_table, box_facts, box_gallery, box_table, panels
from qdiag.comparison.images.thumbnail import address, is_worth_a_picture, pixels
from qdiag.errors import InputError
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report, Section

SURE, OVERLAP = 0.3, 0.5
"""A box counts from this score on, and is the same one from this intersection over union on."""
WIDEST = 640
KEYS = {"boxes", "scores", "labels"}

Detections = dict[str, Tensor]
"""Of one image, as torchvision gives them: boxes x1 y1 x2 y2 in pixels [N, 4], scores [N], labels [N]."""
Detect = Callable[[Any], Sequence[Detections]]
"""Makes detections of what a detector gives, for each image of the batch."""


@dataclass(frozen=True)
class Box:
    """One box that float or the version is sure of. is_shared: the other one has it too."""

    corners: tuple[float, ...]
    score: float
    label: int
    is_shared: bool


@dataclass(frozen=True)
class BoxChange:
    """One image.

    number: its place in the data, from 0. reference, version: their boxes. picture: both side by side, as a data:
    address; "" where it was not kept or is none.
    """

    number: int
    reference: tuple[Box, ...]
    version: tuple[Box, ...]
    picture: str = ""

    @property
    def lost(self) -> int:
        """Boxes that only float has."""
        return sum(not box.is_shared for box in self.reference)

    @property
    def found(self) -> int:
        """Boxes that only the version has."""
        return sum(not box.is_shared for box in self.version)


@dataclass(frozen=True, repr=False)
class ChangedBoxes(Displayable):
    """What fixed point makes of a detector's boxes, the images with most changes first.

    Attributes:
        model_name: The model's class.
        lane: The version's name.
        changes: Of every image.
        names: Of the classes, where the data says them.
    """

    model_name: str
    lane: str
    changes: tuple[BoxChange, ...]
    names: tuple[str, ...] = ()

    def report(self) -> Report:
        """How many boxes were lost and found, the worst images side by side, every image, and every class."""
        counts = [(one.number, len(one.reference), len(one.version), one.lost, one.found) for one in self.changes]
        shown = [(one.number, one.lost, one.found, one.picture) for one in self.changes if one.picture]
        blocks = (
            box_facts(counts, self.lane),
            box_gallery(shown, self.lane, SURE, OVERLAP),
            Section("Every image", (box_table(counts, self.lane),), collapsed=True),
            Section("Classes", (box_class_table(self._by_class(), self.lane),)),
        )
        data = {
            "images": [dict(zip(("number", "float", "version", "lost", "found"), row, strict=True)) for row in counts]
        }
        return Report(f"What happened to the images: {self.model_name} in {self.lane}", blocks, "images", data)

    def _by_class(self) -> list[tuple[str, int, int, int]]:
        """Name, float's boxes, lost, found; those that lost most first."""
        sums: dict[int, list[int]] = {}
        for change in self.changes:
            for box in change.reference:
                count = sums.setdefault(box.label, [0, 0, 0])
                count[0] += 1
                count[1] += not box.is_shared
            for box in change.version:
                sums.setdefault(box.label, [0, 0, 0])[2] += not box.is_shared
        worst = sorted(sums.items(), key=lambda item: -item[1][1])
        return [(self._name(label), total, lost, found) for label, (total, lost, found) in worst]

    def _name(self, label: int) -> str:
        return self.names[label] if 0 <= label < len(self.names) else str(label)


@dataclass
class BoxSums:
    """Folds batches into changes. most: pictures that are kept."""

    most: int
    detect: Detect
    changes: list[BoxChange] = field(default_factory=list)

    def update(self, images: Sequence[Tensor] | Tensor | None, reference: Any, version: Any) -> None:
        """What the model gives of one batch in float and in the version. Raises InputError where these are no boxes."""
        pairs = zip(*(self._detections(output) for output in (reference, version)), strict=True)
        for place, (before, after) in enumerate(pairs):
            change = _change(len(self.changes), before, after)
            shown = pixels(images[place]) if images is not None and self._is_grave(change) else None
            if shown is not None:
                drawn = panels(shown, [_told(box) for box in change.reference], [_told(box) for box in change.version])
                change = replace(change, picture=address(drawn, WIDEST))
            self.changes.append(change)

    def _detections(self, output: Any) -> Sequence[Detections]:
        found = self.detect(output)
        if not holds_boxes(found):
            raise InputError(
                "what the detector gives are no boxes: for each image a dict with boxes [N, 4] as x1 y1 x2 y2, scores "
                "[N] and labels [N]. Give a function that makes these of its output: detect=….",
                code="no-head",
            )
        return found

    def _is_grave(self, change: BoxChange) -> bool:
        kept = (_gravity(one) for one in self.changes if one.picture)
        return _gravity(change) > 0 and is_worth_a_picture(_gravity(change), kept, self.most)

    def result(self, model_name: str, lane: str, names: Sequence[str]) -> ChangedBoxes:
        """The images with most changes first, the first `most` with their pictures."""
        changes = sorted(self.changes, key=_gravity, reverse=True)
        kept = changes[: self.most] + [replace(change, picture="") for change in changes[self.most :]]
        return ChangedBoxes(model_name, lane, tuple(kept), tuple(names))


def holds_boxes(output: Any) -> bool:
    """True for a list of detections, as torchvision's detectors give it."""
    is_list = isinstance(output, (list, tuple)) and len(output) > 0
    return is_list and all(isinstance(one, dict) and set(one) >= KEYS for one in output)


def _gravity(change: BoxChange) -> int:
    return change.lost + change.found


def _told(box: Box) -> tuple[tuple[float, ...], bool]:
    return box.corners, box.is_shared


def _change(number: int, before: Detections, after: Detections) -> BoxChange:
    """Boxes are paired one to one, the surest of float's first, with the one of its class that overlaps it most."""
    one, other = (_sure(found) for found in (before, after))
    overlap = box_iou(one["boxes"], other["boxes"])
    overlap = overlap * (one["labels"][:, None] == other["labels"][None])
    shared: tuple[set[int], set[int]] = set(), set()
    for place in range(len(overlap)):
        free = overlap[place].clone()
        free[list(shared[1])] = 0.0
        if len(free) and float(free.max()) >= OVERLAP:
            shared[0].add(place)
            shared[1].add(int(free.argmax()))
    return BoxChange(number, _boxes(one, shared[0]), _boxes(other, shared[1]))


def _sure(found: Detections) -> Detections:
    order = found["scores"].argsort(descending=True)
    kept = order[found["scores"][order] >= SURE]
    return {key: found[key].detach().cpu()[kept.cpu()] for key in KEYS}


def _boxes(found: Detections, shared: set[int]) -> tuple[Box, ...]:
    rows = zip(found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
    return tuple(Box(tuple(box), score, int(label), n in shared) for n, (box, score, label) in enumerate(rows))
