"""COCO's mean average precision of boxes, at overlaps of 0.5 to 0.95 and 101 recalls, without another package."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

OVERLAPS = torch.arange(0.5, 0.975, 0.05).tolist()
RECALLS = torch.linspace(0, 1, 101)


def mean_average_precision(
    found: Sequence[dict[str, Tensor]], boxes: Sequence[Tensor], classes: Sequence[Tensor]
) -> float:
    """In percent. found: {boxes [D, 4], scores [D], labels [D]} by image; beside it the boxes and classes there are."""
    precisions = []
    for label in torch.cat(list(classes)).unique():
        wanted = [there[kinds == label] for there, kinds in zip(boxes, classes, strict=True)]
        given = [of_class(one, label) for one in found]
        precisions += [average_precision(given, wanted, overlap) for overlap in OVERLAPS]
    return 100 * sum(precisions) / len(precisions)


def of_class(found: dict[str, Tensor], label: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes and scores of one class, the surest first."""
    own = found["labels"] == label
    scores, order = found["scores"][own].sort(descending=True)
    return found["boxes"][own][order], scores


def average_precision(given: Sequence[tuple[Tensor, Tensor]], wanted: Sequence[Tensor], overlap: float) -> float:
    hits = torch.cat([hit(boxes, there, overlap) for (boxes, _), there in zip(given, wanted, strict=True)])
    order = torch.cat([scores for _, scores in given]).argsort(descending=True, stable=True)
    right = hits[order].cumsum(0)
    if not len(right):
        return 0.0
    recall, precision = right / sum(map(len, wanted)), right / torch.arange(1, len(right) + 1)
    at_least = precision.flip(0).cummax(0).values.flip(0)  # the best at this recall or more
    place = torch.searchsorted(recall, RECALLS)
    return float(torch.where(place < len(right), at_least[place.clamp(max=len(right) - 1)], 0.0).mean())


def hit(boxes: Tensor, there: Tensor, overlap: float) -> Tensor:
    """Which boxes meet one that is there, and that none before them met."""
    free, hits = box_iou(boxes, there), torch.zeros(len(boxes), dtype=torch.bool)
    for number in range(len(boxes) if len(there) else 0):
        best = int(free[number].argmax())
        if free[number, best] >= overlap:
            hits[number], free[:, best] = True, -1.0
    return hits
