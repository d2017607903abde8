"""Images with boxes, and how well a detector finds them."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from qdiag.detection.average_precision import AveragePrecision, average_precision
from qdiag.detection.box_labels import BoxLabels
from qdiag.detection.decode import Decode, Detections
from qdiag.detection.letterbox import Letterbox
from qdiag.errors import InputError, OptionError

BATCH = 8


class BoxFolder(Dataset[Any]):
    """Images in a letterbox [3, size, size], each with the boxes that are in it, in the letterbox's pixels.

    images: the files. letterbox: what makes a tensor of an image. labels: from `box_labels`.
    """

    def __init__(self, images: list[Path], letterbox: Letterbox, labels: BoxLabels):
        self.images, self.letterbox, self.labels = images, letterbox, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        path = self.images[number]
        try:
            with Image.open(path) as image:
                boxes, classes = self.labels(path, image.size)
                return self.letterbox(image), {"boxes": self.letterbox.boxes(boxes, image.size), "labels": classes}
        except OSError as error:
            raise InputError(
                f"cannot read the image {path}: {error}. Remove it, or save it anew.", code="unreadable-image"
            ) from error


class MeanAveragePrecision:
    """COCO's mAP of a detector, in percent, over overlaps from 0.5 to 0.95: what `diagnose(evaluate=…)` takes.

    folder: what is to be found. decode: makes boxes of the network's output.

    Raises OptionError where pycocotools is not installed, which finds the matches.
    """

    figure, best = "mAP", 100.0

    def __init__(self, folder: BoxFolder, decode: Decode):
        if importlib.util.find_spec("pycocotools") is None:
            raise OptionError(
                "pycocotools is not installed, which mAP needs: pip install 'qdiag[detection]'.", code="not-installed"
            )
        self.folder, self.decode = folder, decode

    def __call__(self, model: nn.Module | Callable[[Tensor], Any]) -> AveragePrecision:
        """Runs all images of the folder."""
        found, truth = list[Detections](), list[dict[str, Tensor]]()
        for batch in DataLoader(self.folder, batch_size=BATCH, collate_fn=list):
            images, targets = zip(*batch, strict=True)
            with torch.no_grad():
                output = model(torch.stack(images))
            found += self.detect(output)
            truth += targets
        return average_precision(found, truth)

    def detect(self, output: Any) -> list[Detections]:
        """The boxes of each image. Raises InputError for an output that cannot be decoded."""
        if not isinstance(output, Tensor):
            raise InputError(
                f"the detector gives a {type(output).__name__}, and one tensor can be decoded. Give a function of "
                "yours: evaluate=….",
                code="no-head",
            )
        return self.decode(output, self.folder.letterbox.size)
