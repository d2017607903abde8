"""Float and one version on every image: which are decided otherwise."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from qdiag.comparison.images.boxes import BoxSums, ChangedBoxes, Detect, holds_boxes
from qdiag.comparison.images.flips import FlippedImages, FlipSums
from qdiag.comparison.images.masks import ChangedMasks, MaskSums
from qdiag.comparison.images.values import ChangedValues, ValueSums
from qdiag.comparison.labels import as_tensor_if_any
from qdiag.comparison.output_leaves import met_apart
from qdiag.comparison.read_targets import Read, TargetReader
from qdiag.progress import Progress, Steps
from qdiag.subject import Subject
from qdiag.tracing.batches import Batch
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs

SHOWN = 24
"""Images with their pictures, the gravest."""
ImageComparison = FlippedImages | ChangedMasks | ChangedBoxes | ChangedValues


def compare_images_steps(
    subject: Subject, version: nn.Module, lane: str, most: int = SHOWN, detect: Detect | None = None
) -> Steps[ImageComparison]:
    """Every image in float and in a version, each run by itself as in use; pictures of the gravest.

    What the outputs mean, and so what is shown, goes by the subject's task or by labels, as everywhere; outputs of
    boxes are known by their names.

    Args:
        subject: The model with its data.
        version: In fixed point; trained ones too.
        lane: Its name.
        most: Pictures that are kept.
        detect: Makes boxes of a detector's output; by default that of the subject's `evaluate`, if it has one.
    """
    detect = detect or getattr(subject.evaluate, "detect", None)
    fold = _Fold(subject, most, detect)
    for progress, batch in Progress.over(subject.data, "looking at images"):
        with borrow(subject.model):
            reference = forward(subject.model, batch.inputs)
        with borrow(version):
            fold.update(batch, reference, forward(version, batch.inputs))
        yield progress
    return fold.result(subject.trace.model_name, lane)


class _Fold:
    """What a batch is folded into is settled by the first one."""

    def __init__(self, subject: Subject, most: int, detect: Detect | None):
        self.subject, self.most, self.detect = subject, most, detect
        self.reader = TargetReader(subject.task, labels_decide=subject.evaluate is None)
        self.names = class_names(subject.data.source)
        self.sums: FlipSums | MaskSums | BoxSums | ValueSums | None = None

    def update(self, batch: Batch, reference: Any, version: Any) -> None:
        images = _images(batch.inputs)
        if self.sums is None and (self.detect is not None or holds_boxes(reference)):
            self.sums = BoxSums(self.most, self.detect or (lambda output: output))
        if isinstance(self.sums, BoxSums):
            self.sums.update(images, reference, version)
            return
        met = met_apart(reference, version)
        read = self.reader.read(as_tensor_if_any(batch.targets), met.reference)
        if self.sums is None:
            self.sums = self._made(read, met.reference)
        if isinstance(self.sums, ValueSums):
            self.sums.update(met, batch.inputs.batch_size)
        elif read is not None:
            stacked = images if isinstance(images, Tensor) else None
            self.sums.update(stacked, read, met.reference[read.position], met.versions[0][read.position])

    def _made(self, read: Read | None, outputs: Sequence[Tensor]) -> FlipSums | MaskSums | ValueSums:
        if read is None or read.values is not None or self.reader.task not in ("classification", "segmentation"):
            return ValueSums(len(self.subject.data))
        return FlipSums(self.most) if read.decide(outputs[read.position]).ndim == 1 else MaskSums(self.most)

    def result(self, model_name: str, lane: str) -> ImageComparison:
        assert self.sums is not None, "the data has at least one batch"
        if isinstance(self.sums, ValueSums):
            return self.sums.result(model_name, lane)
        return self.sums.result(model_name, lane, self.names)


def _images(inputs: Inputs) -> Tensor | list[Tensor] | None:
    """The first input that is images: a batch [N, C, H, W], or a list of [C, H, W]."""
    for given in inputs.args:
        if isinstance(given, Tensor) and given.ndim == 4:
            return given
        if (
            isinstance(given, (list, tuple))
            and given
            and all(isinstance(one, Tensor) and one.ndim == 3 for one in given)
        ):
            return list(given)
    return None


def class_names(source: Any) -> tuple[str, ...]:
    """Of the classes, as torchvision's data sets say them: `classes` of the data set, or of a loader's."""
    found = getattr(getattr(source, "dataset", source), "classes", None)
    is_names = isinstance(found, (list, tuple)) and all(isinstance(name, str) for name in found)
    return tuple(found) if is_names and found is not None else ()
