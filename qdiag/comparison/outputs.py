"""How far the network's outputs are from float: in dB, in decisions, and in accuracy where there are labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.moments import MomentSums, ReferenceSums


@dataclass(frozen=True)
class OutputError:
    """One lane at the network's outputs.

    sqnr_db: over all floating-point outputs. agreement_percent: decisions (argmax over classes: one for each image, or
    for each pixel) equal to float's; None where the first output has no classes. top1_percent: None without labels.
    drop_points: float's top-1 minus this lane's, with a 95 % interval for paired proportions.
    """

    sqnr_db: float
    relative_error: float
    decisions: int
    agreement_percent: float | None
    top1_percent: float | None
    drop_points: float | None
    drop_interval: tuple[float, float] | None


@dataclass
class OutputSums:
    """Accumulates over batches: outputs of the reference and of each lane."""

    lanes: int

    def __post_init__(self) -> None:
        self.moments = [MomentSums() for _ in range(self.lanes)]
        self.agreed = [0] * self.lanes
        self.decisions = 0
        self.labelled = 0
        self.right = [0] * (self.lanes + 1)
        self.lost = [0] * self.lanes  # float right, lane wrong
        self.won = [0] * self.lanes

    def update(self, reference: Sequence[Tensor], versions: Sequence[Sequence[Tensor]], targets: Any) -> None:
        """reference: the floating-point outputs; versions: the same for each lane."""
        for position, tensor in enumerate(reference):
            if tensor.numel():
                shared = ReferenceSums(tensor)
                for lane, version in enumerate(versions):
                    self.moments[lane].update(shared, version[position], None)
        if not reference or not _has_classes(reference[0]):
            return
        decided = reference[0].argmax(1)
        others = [version[0].argmax(1) for version in versions]
        self.decisions += decided.numel()
        for lane, other in enumerate(others):
            self.agreed[lane] += int((other == decided).sum())
        labels = _labels(targets, decided)
        if labels is None:
            return
        counted = labels >= 0 if labels.ndim == 1 else (labels >= 0) & (labels < reference[0].shape[1])
        float_right = (decided == labels) & counted
        self.labelled += int(counted.sum())
        self.right[0] += int(float_right.sum())
        for lane, other in enumerate(others):
            right = (other == labels) & counted
            self.right[lane + 1] += int(right.sum())
            self.lost[lane] += int((float_right & ~right).sum())
            self.won[lane] += int((~float_right & right).sum())

    @property
    def float_top1_percent(self) -> float | None:
        return 100 * self.right[0] / self.labelled if self.labelled else None

    def error(self, lane: int) -> OutputError:
        moments = self.moments[lane].moments()
        ratio = moments.err2 / moments.ref2 if moments.ref2 else (math.inf if moments.err2 else 0.0)
        drop, interval = self._drop(lane)
        return OutputError(
            sqnr_db=-10 * math.log10(ratio) if ratio > 0 else math.inf,
            relative_error=math.sqrt(ratio),
            decisions=self.decisions,
            agreement_percent=100 * self.agreed[lane] / self.decisions if self.decisions else None,
            top1_percent=100 * self.right[lane + 1] / self.labelled if self.labelled else None,
            drop_points=drop,
            drop_interval=interval,
        )

    def _drop(self, lane: int) -> tuple[float | None, tuple[float, float] | None]:
        """Difference of paired proportions, normal 95 % interval (Agresti, Categorical Data Analysis, 11.1.1)."""
        n = self.labelled
        if not n:
            return None, None
        difference = (self.lost[lane] - self.won[lane]) / n
        variance = ((self.lost[lane] + self.won[lane]) / n - difference**2) / n
        half = 1.96 * math.sqrt(max(variance, 0.0))
        return 100 * difference, (100 * (difference - half), 100 * (difference + half))


def _has_classes(tensor: Tensor) -> bool:
    """[N, C] or [N, C, H, W] with more than one class: argmax over axis 1 is a decision."""
    return tensor.ndim in (2, 4) and tensor.shape[1] > 1 and tensor.numel() > 0


def _labels(targets: Any, decided: Tensor) -> Tensor | None:
    """Targets as class indices, where they are that: integers of the decisions' shape."""
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.dtype is torch.bool:
        return None
    targets = targets.to(decided.device)
    if targets.shape == decided.shape:
        return targets
    squeezed = targets.squeeze()
    return squeezed if squeezed.shape == decided.shape else None
