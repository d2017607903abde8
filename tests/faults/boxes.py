"""What a detector is to find: the truth by one library, and the figure that a diagnosis is given by another."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision

from qdiag.detection.average_precision import AveragePrecision, average_precision
from qdiag.detection.decode import decode_yolox

AT_ONCE = 8


@dataclass(frozen=True)
class Boxes:
    """The objects of each image, and what decodes one image's output [anchors, 5 + classes]."""

    truth: tuple[dict[str, Tensor], ...]
    decode: Callable[[Tensor], dict[str, Tensor]]

    def precision(self, outputs: Tensor) -> float:
        """mAP in percent, by torchmetrics."""
        metric = MeanAveragePrecision()
        metric.update([self.decode(output) for output in outputs], list(self.truth))
        return 100 * float(metric.compute()["map"])


@dataclass(frozen=True)
class Finding:
    """A user's `evaluate`: mAP on these images [N, 3, size, size]."""

    images: Tensor
    boxes: Boxes
    figure, best = "mAP", 100.0

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> AveragePrecision:
        found = [one for part in self.images.split(AT_ONCE) for one in decode_yolox(model(part), part.shape[-1])]
        return average_precision(found, self.boxes.truth)
