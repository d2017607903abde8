"""How good a model is: accuracy by its labels, or agreement with the teacher."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchmetrics import MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from qdiag.planning.widths import Bits
from qdiag.progress import Progress, Steps
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import CALIBRATION_IMAGES, Subject
from qdiag.tracing.batches import Batch, batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.forward import forward
from qdiag.training.image_order import OrderedImages, Share
from qdiag.training.objective import Objective, floating_outputs, labels_for

Makers = dict[str, Metric | MetricCollection]


def evaluation_steps(
    model: nn.Module, images: OrderedImages, share: Share, objective: Objective, label: str
) -> Steps[dict[str, float]]:
    """Metrics by name, over the images of all processes together.

    With labels: top1_percent and top5_percent; miou_percent (mean intersection over union) and pixel_accuracy_percent.
    Without: agreement_percent, of decisions with the teacher's. Where there are no classes: mse.
    """
    return (yield from borrow_stepwise(model, _evaluation(model, images, share, objective, label)))


def _evaluation(
    model: nn.Module, images: OrderedImages, share: Share, objective: Objective, label: str
) -> Steps[dict[str, float]]:
    metrics: MetricCollection | None = None
    for progress, batch in Progress.over(batches(images.in_order(share), float_model(model)), label):
        output = floating_outputs(forward(model, batch.inputs))[0]
        expected, makers = _expected(output, batch, objective)
        if metrics is None:
            metrics = MetricCollection(makers).to(output.device)
        metrics.update(output, expected)
        yield progress
    assert metrics is not None  # `batches` raises where there is none
    return {name: _shown(name, value) for name, value in metrics.compute().items()}


def _shown(name: str, value: Tensor) -> float:
    return 100 * value.item() if name.endswith("_percent") else value.item()


def _expected(output: Tensor, batch: Batch, objective: Objective) -> tuple[Tensor, Makers]:
    """What the output is held against, and the metrics for it."""
    ignore_index = objective.recipe.ignore_index
    labels = labels_for(output, batch.targets, ignore_index)
    classes = output.shape[1] if output.ndim >= 2 else 0
    if labels is not None and output.ndim == 2:
        return labels, dict(_accuracies(classes, ignore_index))
    if labels is not None:
        return labels, {
            "miou_percent": MulticlassJaccardIndex(classes, ignore_index=ignore_index),
            "pixel_accuracy_percent": MulticlassAccuracy(classes, average="micro", ignore_index=ignore_index),
        }
    if isinstance(batch.targets, Tensor) and batch.targets.shape == output.shape:
        return batch.targets.to(output), {"mse": MeanSquaredError()}
    taught = objective.taught(batch)[0]
    if output.ndim == 2 and classes > 1:
        return taught.argmax(1), {"agreement_percent": MulticlassAccuracy(classes, average="micro")}
    return taught, {"mse": MeanSquaredError()}


def _accuracies(classes: int, ignore_index: int) -> Iterator[tuple[str, Metric]]:
    for best in (1, 5):
        if best < classes:
            yield (
                f"top{best}_percent",
                MulticlassAccuracy(classes, top_k=best, average="micro", ignore_index=ignore_index),
            )


def versions_steps(
    model: nn.Module,
    images: OrderedImages,
    validation: OrderedImages,
    share: Share,
    objective: Objective,
    formats: Sequence[Bits],
    others: Mapping[str, nn.Module] | None = None,
) -> Steps[dict[str, Mapping[str, float]]]:
    """Metrics of the model in float and in each format, calibrated by minimum and maximum on 128 of the images.

    A QuantTrainModule takes the place of its own format. others: models by name, to measure beside them.
    """
    network = float_model(model)
    versions: dict[str, nn.Module] = {**(others or {}), "float": network}
    own = model.quantized if isinstance(model, QuantBaseModule) else None
    if formats or (own is not None and not own.calibration.ranges):
        plans: list[tuple[Any, None]] = [(bits, None) for bits in formats or (8,)]
        some = images.loader(0, Share())  # not the first ones, which may all be of one class
        models = yield from calibration_steps(Subject(network, some), "simple", plans, max_images=CALIBRATION_IMAGES)
        if formats:
            versions |= {one.plan.label: one for one in models}
        if own is not None and not own.calibration.ranges:
            own = own.change(calibration=models[0].calibration)  # ranges, which are the same for every width
    if own is not None:
        versions[own.plan.label] = own
    found: dict[str, Mapping[str, float]] = {}
    for name, version in versions.items():
        found[name] = yield from evaluation_steps(version, validation, share, objective, f"measuring {name}")
    return found


def float_model(model: nn.Module) -> nn.Module:
    """The user's own model inside a wrapper of ours, or the model itself."""
    return model.module if isinstance(model, QuantBaseModule | QuantizedModel) else model
