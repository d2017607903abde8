"""COCO's mean average precision, which knows what it would be on other draws of its images."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import box_convert

from qdiag.detection.decode import Detections

RECALLS = torch.from_numpy(np.linspace(0, 1, 101))
"""Where precision is read, by COCO's definition."""
MOST = 100
"""Boxes of one class in one image that count, the surest."""
VALUES_AT_ONCE = 2**22


@dataclass(frozen=True)
class ClassMatches:
    """What was found of one class, the surest first.

    image: each box's, by number [d]. is_right: whether it is an object's, by least overlap from 0.5 to 0.95 [10, d].
    objects: in each image [images].
    """

    image: Int[Tensor, " d"]
    is_right: Bool[Tensor, "10 d"]
    objects: Float[Tensor, " images"]


@dataclass(frozen=True)
class AveragePrecision:
    """A detector's mAP over overlaps from 0.5 to 0.95, in percent: `float()` of it.

    images: how many. classes: those that are in the images.
    """

    images: int
    classes: tuple[ClassMatches, ...]

    def __float__(self) -> float:
        return self._once

    @cached_property
    def _once(self) -> float:
        return float(self.on(torch.ones(1, self.images, dtype=torch.float64)))

    def __str__(self) -> str:
        return f"{float(self):.1f}"

    def on(self, counts: Float[Tensor, "draws images"]) -> Float[Tensor, " draws"]:
        """With each image taken so many times. A class of which a draw has no object is none of its mean."""
        total, number = torch.zeros(len(counts), dtype=torch.float64), torch.zeros(len(counts), dtype=torch.float64)
        for one in self.classes:
            objects = counts @ one.objects
            total += torch.where(objects > 0, _precision(one, counts, objects), 0.0)
            number += objects > 0
        return 100 * total / number.clamp(min=1)


def average_precision(found: Sequence[Detections], truth: Sequence[dict[str, Tensor]]) -> AveragePrecision:
    """What was found in each image beside its `boxes` x1 y1 x2 y2 [n, 4] and `labels` [n], matched by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        objects = COCO()
        objects.dataset = _dataset(truth)
        objects.createIndex()
        boxes = _rows(found)
        matching = COCOeval(objects, objects.loadRes(boxes) if boxes else COCO(), "bbox")
        matching.params.areaRng, matching.params.areaRngLbl = [[0, 1e10]], ["all"]
        matching.params.maxDets = [MOST]
        matching.evaluate()
    images, by_class = len(truth), len(matching.params.imgIds)
    parts = [matching.evalImgs[start : start + by_class] for start in range(0, len(matching.evalImgs), by_class)]
    matches = (_matches(part, images) for part in parts)
    return AveragePrecision(images, tuple(one for one in matches if bool(one.objects.any())))


def _dataset(truth: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
    """In COCO's format; numbers count from 1, since 0 means "no match" there."""
    rows = _rows(truth)
    annotations = [
        row | {"id": number, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]}
        for number, row in enumerate(rows, start=1)
    ]
    categories = [{"id": number} for number in sorted({row["category_id"] for row in rows})]
    return {"images": [{"id": n + 1} for n in range(len(truth))], "annotations": annotations, "categories": categories}


def _rows(images: Sequence[dict[str, Tensor]]) -> list[dict[str, Any]]:
    rows = []
    for number, each in enumerate(images, start=1):
        boxes = box_convert(each["boxes"].reshape(-1, 4), "xyxy", "xywh").tolist()
        scores = each["scores"].tolist() if "scores" in each else [1.0] * len(boxes)
        for box, score, label in zip(boxes, scores, each["labels"].tolist(), strict=True):
            rows.append({"image_id": number, "category_id": int(label), "bbox": box, "score": score})
    return rows


def _matches(parts: Sequence[Any], images: int) -> ClassMatches:
    """Of one class, from what pycocotools found in each image; None where the image has neither object nor box."""
    found = [part for part in parts if part is not None]
    objects = torch.zeros(images, dtype=torch.float64)
    for part in found:
        objects[part["image_id"] - 1] = len(part["gtIds"])
    scores = torch.cat([torch.tensor(part["dtScores"], dtype=torch.float64) for part in found] or [torch.zeros(0)])
    image = torch.cat([torch.full((len(p["dtScores"]),), p["image_id"] - 1) for p in found] or [torch.zeros(0).long()])
    is_right = torch.cat([torch.tensor(part["dtMatches"]) > 0 for part in found] or [torch.zeros(10, 0).bool()], 1)
    order = scores.argsort(descending=True, stable=True)
    return ClassMatches(image[order], is_right[:, order], objects)


def _precision(
    one: ClassMatches, counts: Float[Tensor, "draws images"], objects: Float[Tensor, " draws"]
) -> Float[Tensor, " draws"]:
    """A class's average precision on each draw."""
    if not len(one.image):
        return torch.zeros(len(counts), dtype=torch.float64)
    draws = max(1, VALUES_AT_ONCE // one.is_right.numel())
    parts = zip(counts.split(draws), objects.split(draws), strict=True)
    return torch.cat([_precision_of(one, *part) for part in parts])


def _precision_of(
    one: ClassMatches, counts: Float[Tensor, "draws images"], objects: Float[Tensor, " draws"]
) -> Float[Tensor, " draws"]:
    taken = counts[:, one.image].unsqueeze(1)
    right = (taken * one.is_right).cumsum(2)
    precision = right / taken.cumsum(2).clamp(min=1)
    highest = precision.flip(2).cummax(2).values.flip(2)  # at this recall, or at a higher one
    recall = right / objects.clamp(min=1).view(-1, 1, 1)
    place = torch.searchsorted(recall.contiguous(), RECALLS.expand(*recall.shape[:2], -1).contiguous())
    read = highest.gather(2, place.clamp(max=recall.shape[2] - 1))
    return torch.where(place < recall.shape[2], read, 0.0).mean((1, 2))
