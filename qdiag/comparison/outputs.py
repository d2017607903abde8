"""How far the network's outputs are from float: each in its own measure, in decisions, and in accuracy with labels."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from qdiag.comparison.agreement_sums import AgreementSums
from qdiag.comparison.channel_groups import ChannelSums
from qdiag.comparison.decision_sums import DecisionSums
from qdiag.comparison.float_figures import FloatFigures
from qdiag.comparison.output_error import OutputError, TensorError
from qdiag.comparison.output_leaves import Met
from qdiag.comparison.read_targets import Read, TargetReader
from qdiag.numerics.metrics.sqnr import relative_noise, sqnr_db
from qdiag.numerics.moments import MomentSums, ReferenceSums
from qdiag.quantization.finite_guard import all_finite
from qdiag.subject import Task


class OutputSums:
    """Accumulates over batches: outputs of the reference and of each lane.

    task: what the outputs mean; None to go by the labels. labels_decide: False where a figure of the user's own does,
    so that labels that do not fit are no error. not_finite: values of the reference that are none, by output.
    """

    def __init__(self, lanes: int, task: Task | None = None, *, labels_decide: bool = True):
        self.lanes, self.images = lanes, 0
        self.reader = TargetReader(task, labels_decide=labels_decide)
        self.moments = [MomentSums() for _ in range(lanes)]
        self.tensors: dict[str, _TensorSums] = {}
        self.unseen: dict[str, None] = {}
        self.not_finite: dict[str, int] = {}
        self.decisions: DecisionSums | None = None
        self.distances: list[float] = [0.0] * (lanes + 1)
        self.targets = 0

    def update(self, met: Met, targets: Any, images: int) -> None:
        """Fold one batch of so many images in. Raises InputError where the labels do not fit."""
        self.unseen |= dict.fromkeys(met.unseen)
        self.images += images
        for position, (name, tensor) in enumerate(zip(met.names, met.reference, strict=True)):
            if tensor.numel():
                self._count_not_finite(name, tensor)
                own = [version[position] for version in met.versions]
                self.tensors.setdefault(name, _TensorSums(tensor, self.lanes)).update(tensor, own)
                self._total(tensor, own)
        read = self.reader.read(targets, met.reference)
        if read is not None:
            self._decide(read, met.reference[read.position], [version[read.position] for version in met.versions])

    def _count_not_finite(self, name: str, reference: Tensor) -> None:
        if reference.is_floating_point() and not all_finite(reference):
            self.not_finite[name] = self.not_finite.get(name, 0) + int((~reference.isfinite()).sum())

    def _total(self, tensor: Tensor, own: Sequence[Tensor]) -> None:
        if tensor.is_floating_point():
            shared = ReferenceSums(tensor)
            for lane, version in enumerate(own):
                self.moments[lane].update(shared, version, None)

    def _decide(self, read: Read, reference: Tensor, own: Sequence[Tensor]) -> None:
        if read.values is not None:
            self.targets += read.values.numel()
            for lane, version in enumerate((reference, *own)):
                self.distances[lane] += float((version.reshape(read.values.shape) - read.values).abs().sum())
            return
        if self.decisions is None:
            self.decisions = DecisionSums(self.lanes, read.classes)
        self.decisions.update(read.decide(reference), [read.decide(version) for version in own], read.labels)

    @property
    def float_top1_percent(self) -> float | None:
        figures = self.float_figures
        return None if figures is None else 100 * figures.right

    @property
    def float_figures(self) -> FloatFigures | None:
        """Float beside the labels; None without them."""
        return self.decisions.figures() if self.decisions is not None and self.decisions.has_labels else None

    def error(self, lane: int) -> OutputError:
        moments = self.moments[lane].moments()
        decisions = self.decisions
        agreement, agreement_interval = (None, None) if decisions is None else decisions.agreement(lane)
        labelled = decisions if decisions is not None and decisions.has_labels else None
        drop, interval = (None, None) if labelled is None else labelled.drop(lane)
        iou, iou_drop, iou_interval = (labelled.miou(lane) if labelled else None) or (None, None, None)
        mean = [distance / self.targets for distance in self.distances] if self.targets else None
        return OutputError(
            sqnr_db=sqnr_db(moments.ref2, moments.err2),
            relative_error=math.sqrt(relative_noise(moments.ref2, moments.err2)),
            decisions=0 if decisions is None else decisions.decisions,
            agreement_percent=agreement,
            agreement_interval=agreement_interval,
            top1_percent=None if labelled is None else labelled.top1_percent(lane),
            drop_points=drop,
            drop_interval=interval,
            miou_percent=iou,
            miou_drop_points=iou_drop,
            miou_interval=iou_interval,
            task=self.reader.task or "values",
            images=self.images,
            tensors=tuple(sums.error(name, lane) for name, sums in self.tensors.items()),
            unseen=tuple(self.unseen),
            target_error=None if mean is None else (mean[0], mean[lane + 1]),
        )


class _TensorSums:
    """One output over batches."""

    def __init__(self, tensor: Tensor, lanes: int):
        self.channels = ChannelSums(lanes) if tensor.is_floating_point() else None
        self.equal = AgreementSums(lanes) if self.channels is None else None

    def update(self, reference: Tensor, versions: Sequence[Tensor]) -> None:
        if self.channels is not None:
            self.channels.update(reference, versions)
        if self.equal is not None:
            self.equal.update(reference, versions)

    def error(self, name: str, lane: int) -> TensorError:
        if self.channels is None:
            assert self.equal is not None, "a tensor is of floats or it is not"
            return TensorError(name, agreement_percent=self.equal.percent(lane), kappa=self.equal.kappa(lane))
        worst = min(self.channels.groups(lane), key=lambda group: group.sqnr_db, default=None)
        return TensorError(
            name,
            relative_noise=self.channels.relative_noise(lane),
            worst_sqnr_db=None if worst is None else worst.sqnr_db,
            worst_channels=() if worst is None else worst.channels,
            channels=self.channels.channels,
        )
