"""How float itself meets the labels: before any word on number formats."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_CLASSES = 2048
"""Classes up to which labels and decisions are counted by pairs."""
LEAST_OF_CLASS = 5
"""Images of a class for what is mostly decided on them to mean something."""


@dataclass(frozen=True)
class FloatFigures:
    """Float's decisions beside the labels.

    images: with labels. right: the part of decisions that is, 0 to 1. classes: of the output. decided: classes that
    float ever decides for; highest_label: of all labels. shift: labels equal the decisions moved on by so many classes,
    mostly; 0 where they do not. relabelled: the part that would be right if each label meant the class that float
    mostly decides for where it stands, each class once. exchanged: classes on whose images float mostly decides for
    another one of them, each for a different one; of pixels this is not told.
    """

    images: int
    right: float
    classes: int
    decided: int
    highest_label: int
    shift: int
    relabelled: float
    exchanged: int = 0


class Confusion:
    """Counts of (label, decision) over batches."""

    def __init__(self, classes: int):
        self.classes, self.labelled, self.right = classes, 0, 0
        self.highest = self.highest_label = 0
        self.seen = torch.zeros(classes, dtype=torch.bool)
        size = classes if classes <= MOST_CLASSES else 0
        self.counts = torch.zeros(size, size, dtype=torch.int64)

    def decided(self, decided: Tensor) -> None:
        """Note which classes are ever decided for."""
        found = decided.unique().cpu().clamp(0, self.classes - 1)
        self.seen[found] = True
        self.highest = max(self.highest, int(found.max())) if found.numel() else self.highest

    def update(self, decided: Tensor, labels: Tensor) -> None:
        """decided, labels: [n], of what counts."""
        if not labels.numel():
            return
        self.labelled += labels.numel()
        self.right += int((decided == labels).sum())
        self.highest_label = max(self.highest_label, int(labels.max()))
        size = len(self.counts)
        known = (labels >= 0) & (labels < size) & (decided < size)
        pairs = labels[known] * size + decided[known]
        self.counts += torch.bincount(pairs, minlength=size * size).reshape(size, size).cpu()

    def figures(self, images: int, classes: int) -> FloatFigures:
        total = max(1, self.labelled)
        return FloatFigures(
            images=images,
            right=self.right / total,
            classes=classes,
            decided=int(self.seen.sum()),
            highest_label=self.highest_label,
            shift=self._shift(total),
            relabelled=self._relabelled() / total,
            exchanged=self._exchanged() if images == self.labelled else 0,
        )

    def _shift(self, total: int) -> int:
        """+1 where labels are mostly the decision and one more, -1 where one less; else 0."""
        size = len(self.counts)
        if size < 3:
            return 0
        for shift in (1, -1):
            index = torch.arange(size)
            moved = int(self.counts[(index + shift) % size, index].sum())
            if moved > 0.5 * total and moved > 2 * self.right:
                return shift
        return 0

    def _relabelled(self) -> int:
        """Decisions that would be right under the best guess of another order; pairs taken from the largest on."""
        counts = self.counts.clone()
        right = 0
        for _ in range(min(len(counts), 64)):
            most = int(counts.max())
            if most == 0:
                break
            label, decision = divmod(int(counts.argmax()), len(counts))
            right += most
            counts[label], counts[:, decision] = 0, 0
        return right

    def _exchanged(self) -> int:
        """Classes of closed rings, in which each label stands where float mostly decides for the next class."""
        if not len(self.counts):
            return 0
        totals, (most, decided) = self.counts.sum(1), self.counts.max(1)
        moved = ((totals >= LEAST_OF_CLASS) & (2 * most > totals)).nonzero().flatten().tolist()
        ring = {label: int(decided[label]) for label in moved if int(decided[label]) != label}
        while True:
            meant = Counter(ring.values())
            closed = {label: other for label, other in ring.items() if other in ring and meant[label] == 1}
            if len(closed) == len(ring):
                return len(ring)
            ring = closed
