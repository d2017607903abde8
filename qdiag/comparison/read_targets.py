"""What a batch's targets say about the outputs: which of them holds classes, or values to be held against."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qdiag.comparison.labels import as_tensor, class_labels, has_classes, unusable
from qdiag.errors import InputError
from qdiag.subject import Task


@dataclass(frozen=True)
class Read:
    """What one batch's targets are.

    position: of the output that they belong to. classes: that it tells apart, 0 where it does not say. labels: class
    indices, or None without any. values: targets that are values, in place of classes. threshold: of an output of one
    channel for two classes.
    """

    position: int
    classes: int = 0
    labels: Tensor | None = None
    values: Tensor | None = None
    threshold: float | None = None

    def decide(self, output: Tensor) -> Tensor:
        """The class of each image or pixel."""
        if not output.is_floating_point():
            return output.long()
        return output.argmax(1) if self.threshold is None else (output > self.threshold).long().squeeze(1)


class TargetReader:
    """Reads targets batch by batch; the first batch settles what the outputs mean.

    task: the user's word, or None. labels_decide: whether labels that fit nothing are an error.
    """

    def __init__(self, task: Task | None, *, labels_decide: bool):
        self.said, self.labels_decide = task, labels_decide
        self.task: Task | None = task
        self.threshold: float | None = None

    def read(self, targets: Any, outputs: list[Tensor] | Any) -> Read | None:
        """None where outputs are judged as values alone. Raises InputError where the labels do not fit."""
        if not outputs:
            return None
        found = None if targets is None else self._labelled(targets, outputs)
        if found is not None:
            return found
        if self.said in ("classification", "segmentation"):
            return self._unlabelled(outputs)
        # what argmax gives is told, though without a word nobody knows whether it is a decision
        return None if targets is not None else self._first_classes(outputs)

    def _labelled(self, targets: Any, outputs: Any) -> Read | None:
        tensor = as_tensor(targets)
        if self.said in ("values", "detection"):
            return None if tensor is None else _values(tensor, outputs)
        if tensor is not None and tensor.ndim == 0:
            tensor = tensor.reshape(1)
        for position, output in enumerate(outputs if tensor is not None else ()):
            found = self._classes(tensor, output, position)
            if found is not None:
                self.task = self.task or ("classification" if found.labels.ndim == 1 else "segmentation")  # type: ignore[union-attr]
                return found
        found = _values(tensor, outputs) if tensor is not None and self.said is None else None
        if found is not None or not self.labels_decide:
            return found
        raise unusable(targets, outputs[0])

    def _classes(self, targets: Any, output: Tensor, position: int) -> Read | None:
        if has_classes(output):
            labels = class_labels(targets, output)
            return None if labels is None else Read(position, output.shape[1], labels)
        if not output.is_floating_point():
            labels = _of_decisions(targets, output)
            return None if labels is None else Read(position, 0, labels)
        if output.ndim in (2, 4) and output.shape[1] == 1 and _is_two(targets):
            wide = output.expand(-1, 2, *output.shape[2:])
            labels = class_labels(targets.long(), wide)
            return None if labels is None else Read(position, 2, labels, threshold=self._threshold(output))
        return None

    def _threshold(self, output: Tensor) -> float:
        """0.5 for probabilities, 0 for logits; by the first batch."""
        if self.threshold is None:
            self.threshold = 0.5 if bool(((output >= 0) & (output <= 1)).all()) else 0.0
        return self.threshold

    def _first_classes(self, outputs: Any) -> Read | None:
        found = [Read(number, output.shape[1]) for number, output in enumerate(outputs) if has_classes(output)]
        return found[0] if found else None

    def _unlabelled(self, outputs: Any) -> Read:
        found = self._first_classes(outputs)
        if found is not None:
            return found
        for position, output in enumerate(outputs):
            if not output.is_floating_point() and output.numel():
                return Read(position)
        shapes = ", ".join(str(list(output.shape)) for output in outputs)
        raise InputError(
            f"task={self.said!r}, but no output holds classes [N, C] or [N, C, H, W]: they are {shapes}. Say "
            "task='values', or give evaluate=…, a function of yours from a model to its figure.",
            code="no-classes",
        )


def _of_decisions(targets: Tensor, output: Tensor) -> Tensor | None:
    """Class indices beside decisions that the network makes itself."""
    if output.ndim not in (1, 3) or output.dtype is torch.bool:
        return None
    classes = int(output.max()) + 2
    return class_labels(targets, output.new_zeros(output.shape[0], classes, *output.shape[1:], dtype=torch.float32))


def _is_two(targets: Tensor) -> bool:
    return bool(((targets == 0) | (targets == 1)).all())


def _lengths(tensor: Tensor) -> list[int]:
    return [length for length in tensor.shape if length != 1]


def _values(targets: Tensor, outputs: Any) -> Read | None:
    """Targets that are values of one of the outputs."""
    for position, output in enumerate(outputs):
        is_kind = targets.is_floating_point() or not has_classes(output)  # integers beside classes are several labels
        if output.is_floating_point() and is_kind and _lengths(targets) == _lengths(output):
            return Read(position, values=targets.detach().to(output.device).reshape(output.shape).float())
    return None
