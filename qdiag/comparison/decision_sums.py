"""Running sums of decisions: right, lost, won, and equal, image by image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from qdiag.comparison.float_figures import Confusion, FloatFigures
from qdiag.comparison.intervals import LEAST_RESAMPLED, Interval, Pairs, mean_interval, resampled_counts, wilson

MOST_CLASSES = 256
"""Classes whose intersections and unions are kept by image."""


OPEN_CLASSES = 255
"""Classes of an output that is decisions already, whose number nobody says; 255 marks pixels without a label."""


class DecisionSums:
    """Of one output of classes, over batches; decisions are [N] or [N, H, W]. classes: 0 where nobody says."""

    def __init__(self, lanes: int, classes: int):
        self.known_classes, self.classes = classes, classes or OPEN_CLASSES
        self.decisions = 0
        self.agreed: list[list[Tensor]] = [[] for _ in range(lanes)]  # by image, as shares
        self.pairs: list[list[Tensor]] = [[] for _ in range(lanes)]  # by image: both, lost, won, neither
        self.overlaps: list[list[Tensor]] = [[] for _ in range(lanes + 1)]  # by image and class
        self.confusion = Confusion(self.classes)
        self.equal = [0] * lanes

    def update(self, decided: Tensor, others: Sequence[Tensor], labels: Tensor | None) -> None:
        """decided: float's; others: each lane's. labels: below 0, and beyond the classes in pixels, do not count."""
        self.decisions += decided.numel()
        for lane, other in enumerate(others):
            same = (other == decided).reshape(len(decided), -1).double()
            self.equal[lane] += int(same.sum())
            self.agreed[lane].append(same.mean(1).cpu())
        self.confusion.decided(decided)
        if labels is None:
            return
        counted = (labels >= 0) if labels.ndim == 1 else (labels >= 0) & (labels < self.classes)
        right = (decided == labels) & counted
        self.confusion.update(decided[counted], labels[counted])
        for lane, other in enumerate(others):
            self.pairs[lane].append(_pairs(right, (other == labels) & counted, counted))
        if labels.ndim > 1 and self.classes <= MOST_CLASSES:
            for lane, version in enumerate((decided, *others)):
                self.overlaps[lane].append(_overlaps(version, labels, counted, self.classes))

    @property
    def has_labels(self) -> bool:
        return self.confusion.labelled > 0

    def figures(self) -> FloatFigures:
        images = sum(map(len, self.pairs[0])) if self.pairs else 0
        return self.confusion.figures(images, self.known_classes or self.confusion.highest + 1)

    def agreement(self, lane: int) -> tuple[float, Interval]:
        """The part of decisions equal to float's, in percent, with its interval over images."""
        shares = torch.cat(self.agreed[lane])
        n = len(shares)
        low, high = wilson(float(shares.sum()), n)
        if self.decisions > n:  # pixels
            lost = 1 - shares
            worst, best = mean_interval(lost, torch.ones(n), (float(shares.sum()), float(lost.sum()), 0.0, 0.0))
            low, high = max(0.0, 1 - best), min(1.0, 1 - worst)
        return 100 * self.equal[lane] / self.decisions, (100 * low, 100 * high)

    def top1_percent(self, lane: int) -> float:
        totals = torch.cat(self.pairs[lane]).sum(0)
        return 100 * float((totals[0] + totals[2]) / totals.sum())

    def drop(self, lane: int) -> tuple[float, Interval]:
        """Float's proportion of right decisions minus the lane's, in points, with its interval."""
        by_image = torch.cat(self.pairs[lane])
        weights = by_image.sum(1)
        totals = Pairs(*by_image.sum(0).tolist())
        if float(weights.max()) <= 1:
            low, high = totals.interval()
        else:
            seen = by_image[weights > 0]
            shares = (seen / seen.sum(1, keepdim=True)).sum(0).tolist()
            low, high = mean_interval(seen[:, 1] - seen[:, 2], seen.sum(1), shares)
        return 100 * totals.drop, (100 * low, 100 * high)

    def miou(self, lane: int) -> tuple[float, float, Interval | None] | None:
        """Mean intersection over union of the labelled classes, its drop, and the drop's interval over images.

        None where there are no pixels with labels; no interval from fewer images than can be resampled.
        """
        if not self.overlaps[0]:
            return None
        reference, own = torch.cat(self.overlaps[0]), torch.cat(self.overlaps[lane + 1])
        present = reference[:, :, 2].sum(0) > 0
        reference, own = reference[:, present], own[:, present]
        ious = [100 * float(_mean_iou(sums.sum(0))) for sums in (reference, own)]
        interval = None
        if len(reference) >= LEAST_RESAMPLED:
            counts = resampled_counts(len(reference))
            drawn = [torch.einsum("rn,nck->rck", counts, sums) for sums in (reference, own)]
            drops = 100 * (_mean_iou(drawn[0]) - _mean_iou(drawn[1]))
            low, high = torch.quantile(drops, torch.tensor([0.02, 0.98]).to(drops)).tolist()
            interval = (low, high)
        return ious[1], ious[0] - ious[1], interval


def _pairs(right: Tensor, other: Tensor, counted: Tensor) -> Tensor:
    parts = (right & other, right & ~other, ~right & other, ~right & ~other & counted)
    return torch.stack([part.reshape(len(part), -1).sum(1) for part in parts], 1).double().cpu()


def _overlaps(version: Tensor, labels: Tensor, counted: Tensor, classes: int) -> Tensor:
    """[images, classes, 3]: in both, in either, in the labels."""
    images = torch.arange(len(labels), device=labels.device).reshape(-1, *[1] * (labels.ndim - 1)) * classes

    def count(values: Tensor, where: Tensor) -> Tensor:
        where = where & (values < classes)
        return torch.bincount((values + images)[where], minlength=len(labels) * classes).reshape(-1, classes)

    both, found, wanted = count(labels, counted & (version == labels)), count(version, counted), count(labels, counted)
    return torch.stack([both, found + wanted - both, wanted], 2).double().cpu()


def _mean_iou(sums: Tensor) -> Tensor:
    """Over classes; sums [..., classes, 3]."""
    return (sums[..., 0] / sums[..., 1].clamp(min=1)).mean(-1)
