"""The float model on its images read in other ways: where one of them is right far more often, the data is wrong."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.comparison.decision_sums import DecisionSums
from qdiag.comparison.intervals import Interval, Pairs, wilson
from qdiag.comparison.labels import as_tensor_if_any
from qdiag.comparison.output_leaves import output_leaves
from qdiag.comparison.read_targets import Read, TargetReader
from qdiag.errors import ModelError
from qdiag.progress import Progress, report
from qdiag.subject import Subject
from qdiag.tracing.batches import Batch, Batches
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.intercept import Function, Interceptor
from qdiag.tracing.operations import OperationKind, bind, kind_of
from qdiag.tracing.site import Site

IMAGES = 128
PIXELS = 64 * 224 * 224
"""Of all images together: what takes long, and would tell little more, is not tried."""
LEAST_IMAGES = 8
"""Of fewer no gain is sure."""
AT_ONCE = 8
"""A reading that gains nothing on the first so many images is not tried on the others."""
LEAST_GAIN = 2.0
"""Points of top-1 that a reading surely has to gain."""
LEAST_OF_WAY = 0.25
"""Of the way from guessing to always right, which a reading has to come."""

Change = Callable[[Tensor], Tensor]
T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """How often float is right where the same images are read in another way.

    how: the way, as the end of "float reads these images better …". images: that were tried. right, as_given: parts of
    the labels that float meets, read so and as they came, 0 to 1. gain_interval: of the difference, 95 %, in points.
    figure: of the user's own, which right and as_given are parts of the best of; "" where labels tell.
    """

    how: str
    images: int
    right: float
    as_given: float
    gain_interval: Interval | None
    figure: str = ""


def _colours(x: Tensor) -> bool:
    return x.shape[1] == 3


def _as_imagenet(x: Tensor) -> Tensor:
    if not _colours(x) or float(x.min()) < 0:
        return x
    return (x / (255 if float(x.max()) > 2 else 1) - _MEAN.to(x)) / _DEVIATION.to(x)


_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
"""Of ImageNet's training images, as torchvision's weights state them."""

CHANGES: dict[str, Change] = {
    "upside down": lambda x: x.flip(2),
    "mirrored": lambda x: x.flip(3),
    "with rows for columns": lambda x: x.transpose(2, 3) if x.shape[2] == x.shape[3] else x,
    "with red and blue exchanged": lambda x: x.flip(1) if _colours(x) else x,
    "negated": torch.neg,
    "with light for dark": lambda x: x.amin() + x.amax() - x,
    "times 255": lambda x: x * 255,
    "divided by 255": lambda x: x / 255,
    "as 2 x - 1": lambda x: 2 * x - 1,
    "normalized with ImageNet's mean and deviation": _as_imagenet,
    "without ImageNet's normalization": lambda x: x * _DEVIATION.to(x) + _MEAN.to(x) if _colours(x) else x,
}
"""Each from images [N, C, H, W] to others, or the same where it does not apply."""
BY_BATCH = "with BatchNorm's statistics taken from the images"


def better_reading(subject: Subject) -> Reading | None:
    """The reading with which float is surely right more often, by the most; None without one, or without classes."""
    with borrow(subject.model):
        trial = _Trial(subject.model, TargetReader(subject.task, labels_decide=False))
        for part in told(_first_images(subject.data), "running float"):
            trial.note(part)
        if not trial.can_gain:
            return None
        tried = [trial.reading(how) for how in told([*CHANGES, BY_BATCH], "reading images in other ways")]
    return max((one for one in tried if one is not None), key=lambda one: one.right, default=None)


def told(items: Sequence[T], label: str) -> Iterator[T]:
    """Each in turn, which is told as progress."""
    for number, item in enumerate(items):
        yield item
        report(Progress(label, number + 1, len(items)))


def _first_images(data: Batches) -> list[Batch]:
    """Some images with labels, a few at a time; the data is read anew only where its first batch is too small."""
    first = data.first
    images = min(IMAGES, PIXELS // max([1, *(x.shape[-2:].numel() for _, x in first.inputs.tensors() if x.ndim == 4)]))
    if first.targets is None or images < LEAST_IMAGES:
        return []
    source = [first] if first.inputs.batch_size >= images else data.upto(images)
    batches = (replace(batch, targets=as_tensor_if_any(batch.targets)) for batch in source)
    return [part for batch in batches for part in batch.split(images)[0].split(AT_ONCE)]


@dataclass(frozen=True)
class _Part:
    """A few images: what the labels are, and what float decides on them as they came."""

    inputs: Inputs
    read: Read
    labels: Tensor
    decided: Tensor

    @property
    def right(self) -> float:
        """As so many images, in part where pixels are decided."""
        return len(self.decided) * float((self.decided == self.labels).double().mean())


class _Trial:
    """How other readings do beside the images as they came."""

    def __init__(self, model: nn.Module, reader: TargetReader):
        self.model, self.reader = model, reader
        self.parts: list[_Part] = []

    @property
    def images(self) -> int:
        return sum(len(part.decided) for part in self.parts)

    def note(self, batch: Batch) -> None:
        """Keep what float decides on these images; without labels of classes there is nothing to keep."""
        outputs = _tensors(forward(self.model, batch.inputs.map(torch.clone)))
        read = self.reader.read(batch.targets, outputs)
        if read is not None and read.labels is not None:
            self.parts.append(_Part(batch.inputs, read, read.labels, read.decide(outputs[read.position])))

    @property
    def can_gain(self) -> bool:
        """True where even so few images would show it if another reading were always right."""
        right = sum(part.right for part in self.parts)
        wrong = self.images - right
        return wrong > 0 and -100 * Pairs(right, 0, wrong, 0).interval()[1] > LEAST_GAIN

    def reading(self, how: str) -> Reading | None:
        """None where it does not apply, where the model does not run on it, or where it does not surely gain."""
        sums = DecisionSums(1, self.parts[0].read.classes)
        with suppress(ModelError):
            for number, part in enumerate(self.parts):
                changed = self._outputs(how, part.inputs)
                if changed is None or (number == 1 and sums.has_labels and sums.drop(0)[0] >= 0):
                    return None
                sums.update(part.decided, [part.read.decide(changed[part.read.position])], part.labels)
            return self._gain(how, sums) if sums.has_labels else None
        return None

    def _gain(self, how: str, sums: DecisionSums) -> Reading | None:
        """A reading that beats the images as they came, and guessing."""
        drop, (low, high) = sums.drop(0)
        right = sums.top1_percent(0) / 100
        guess = 1 / max(2, sums.classes)
        is_read = wilson(right * self.images, self.images)[0] > guess + LEAST_OF_WAY * (1 - guess)
        if not is_read or -high <= LEAST_GAIN:
            return None
        return Reading(how, self.images, right, right + drop / 100, (-high, -low))

    def _outputs(self, how: str, inputs: Inputs) -> list[Tensor] | None:
        if how == BY_BATCH:
            watch = _ByBatch(self.model)
            with watch:
                outputs = _tensors(forward(self.model, inputs.map(torch.clone)))
            return outputs if watch.has_norms else None
        changed = inputs.map(lambda x: CHANGES[how](x).contiguous() if is_image(x) else x)
        pairs = zip(inputs.tensors(), changed.tensors(), strict=True)
        if all(torch.equal(one, other) for (_, one), (_, other) in pairs):
            return None
        return _tensors(forward(self.model, changed.map(torch.clone)))


def is_image(x: object) -> TypeGuard[Tensor]:
    """True of a batch [N, C, H, W]."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 4


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for _, leaf in output_leaves(outputs) if isinstance(leaf, Tensor)]


class _ByBatch(Interceptor):
    """Normalizes by the images of the batch where the model would by what training left."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.has_norms = False

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kind_of(site.op) is OperationKind.NORM:
            given = bind(site.op, args, kwargs, function)
            if isinstance(given.get("running_mean"), Tensor):
                self.has_norms = True
                scale, shift, eps = given.get("weight"), given.get("bias"), given.get("eps", 1e-5)
                return F.batch_norm(given["input"], None, None, scale, shift, True, 0.0, eps)
        return function(*args, **kwargs)
