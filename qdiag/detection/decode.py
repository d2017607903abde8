"""Boxes, scores and classes from what a detector's head gives."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

from qdiag.errors import InputError

Detections = dict[str, Tensor]
"""Of one image, as torchmetrics takes them: boxes x1 y1 x2 y2 [N, 4], scores [N], labels [N]."""
Decode = Callable[[Tensor, int], list[Detections]]
"""Takes the head's output and the side of the square image."""

STRIDES = (8, 16, 32)
LEAST_SCORE, LARGEST_OVERLAP, MOST = 0.01, 0.65, 100


def decode_yolox(output: Float[Tensor, "..."], size: int) -> list[Detections]:
    """YOLOX's head, [N, anchors, 5 + classes]: offsets and logarithms of lengths by stride, objectness, class scores.

    Args:
        output: Of the exported network, scores behind their sigmoid.
        size: Of the square image, in pixels.

    Raises:
        InputError: For an output of another shape.
    """
    grid, stride = _anchors(size)
    if output.ndim != 3 or output.shape[1] != len(grid) or output.shape[2] < 6:
        raise InputError(
            f"an output {list(output.shape)} is no head of YOLOX for images of {size} x {size}: that is "
            f"[N, {len(grid)}, 5 + classes]. Give the network's size, or a function of yours: evaluate=….",
            code="no-head",
        )
    grid, stride = grid.to(output), stride.to(output)
    centre, extent = (output[..., :2] + grid) * stride, output[..., 2:4].exp() * stride
    boxes = box_convert(torch.cat([centre, extent], -1), "cxcywh", "xyxy")
    scores, labels = (output[..., 4:5] * output[..., 5:]).max(-1)
    return [_best(*parts) for parts in zip(boxes, scores, labels, strict=True)]


def _anchors(size: int) -> tuple[Int[Tensor, "a 2"], Int[Tensor, "a 1"]]:
    """Each anchor's place in its grid [A, 2], and its stride [A, 1]."""
    grids, strides = [], []
    for stride in STRIDES:
        steps = torch.arange(size // stride)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        grids.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((len(steps) ** 2, 1), stride))
    return torch.cat(grids), torch.cat(strides)


def _best(boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], labels: Int[Tensor, " n"]) -> Detections:
    """The hundred surest that do not overlap one of the same class that is surer."""
    sure = scores > LEAST_SCORE
    boxes, scores, labels = boxes[sure], scores[sure], labels[sure]
    kept = batched_nms(boxes, scores, labels, LARGEST_OVERLAP)[:MOST]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept]}


DECODERS: dict[str, Decode] = {"yolox": decode_yolox}
