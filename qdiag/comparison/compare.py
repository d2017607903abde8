"""`compare()`: float, 16-bit and 8-bit tensors at every layer, in one streaming pass over the data."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from qdiag.comparison.check_versions import checked_versions
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.layer_sums import LayerSums
from qdiag.comparison.not_finite import not_finite_outputs
from qdiag.comparison.probe import probe
from qdiag.comparison.streaming import lanes_steps, output_sums
from qdiag.errors import OptionError, QdiagWarning
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.layer import Layer
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, long_work
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.reference_check import check_reference
from qdiag.subject import Subject, Task
from qdiag.tracing.batches import Adapt

ADDED_IMAGES = 16


@long_work
def compare(
    model: nn.Module | Subject,
    data: Any = None,
    bits: Sequence[Bits] = (16, 8),
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    method: str = "simple",
    target: str = "tidl",
    quantized: Mapping[str, QuantizedModel] | None = None,
    task: Task | None = None,
    batch: Adapt | None = None,
    added_images: int = ADDED_IMAGES,
    on_progress: OnProgress = None,
) -> Steps[Comparison]:
    """Every stored tensor in float and in each fixed-point version, over all of the data.

    Args:
        model: Left as it was; or a `Subject`, which holds the data as well.
        data: Images, with labels where there are any; streamed, so that memory does not grow with their number.
        bits: Of each version, the finest first.
        per_channel: As for `calibrate`.
        calibration_data: Where ranges come from; the first 128 images of `data` if not given.
        method: As for `calibrate`.
        target: As for `calibrate`.
        quantized: Models to compare by name, in place of ones calibrated here to `bits`.
        task: What the outputs mean, "classification", "segmentation", "detection" or "values"; by default what labels
            that fit say, and without any, values: each output by itself, and its worst channels.
        batch: Takes a batch as the data gives it, gives what the model takes or (inputs, labels); see `Subject`.
        added_images: On this many images each layer is also computed from float inputs, to see what it adds.
        on_progress: Called with each event; without it a bar appears for parts that take over two seconds.

    Raises:
        InputError: Before any long work, for data that cannot be used.
        ModelError: Before any long work, for a model that cannot be run or simulated as it is.
        OptionError: Before any long work, for options that are not on offer.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> comparison = compare(net, torch.rand(8, 3, 6, 6))
    >>> comparison.lanes, [str(layer.site) for layer in comparison.layers]
    (('16-bit', '8-bit'), [':input', '0'])
    """
    if not isinstance(bits, Sequence) or isinstance(bits, str) or (quantized is None and not bits):
        raise OptionError(
            f"bits={bits!r}: give the bits of each version to compare with float, as bits=(16, 8).", code="no-versions"
        )
    subject = Subject.of(model, data, calibration_data=calibration_data, task=task, batch=batch)
    if quantized is None:
        formats = [(width, per_channel) for width in bits]
        quantized = _named((yield from calibration_steps(subject.calibration, method, formats, target=target)))
    return (yield from _layers_steps(subject, checked_versions(subject, quantized), added_images))


def _named(models: Sequence[QuantizedModel]) -> dict[str, QuantizedModel]:
    """By the plans' labels, with a number where a label comes again."""
    named: dict[str, QuantizedModel] = {}
    for model in models:
        alike = sum(model.plan.label == other.plan.label for other in named.values())
        named[f"{model.plan.label} ({alike + 1})" if alike else model.plan.label] = model
    return named


def _layers_steps(subject: Subject, quantized: Mapping[str, QuantizedModel], added_images: int) -> Steps[Comparison]:
    check_reference(subject)
    plan, found = subject.plan(), probe(subject)
    sums = {layer.site: LayerSums(layer, list(quantized.values())) for layer in plan.layers}
    outputs = output_sums(subject, len(quantized))

    def meet(layer: Layer, reference: Tensor, twins: list[Tensor], added: list[Tensor]) -> None:
        sums[layer.site].update(reference, twins, added)

    images = yield from lanes_steps(
        subject, quantized, outputs, meet, "comparing", constants=found.constants, added_images=added_images
    )
    broken = not_finite_outputs(subject, outputs.not_finite)
    for one in broken:
        warnings.warn(f"{one}. What is said of it compares with these.", QdiagWarning, stacklevel=2)
    names = tuple(quantized)
    reason = "did not run when the model was traced on the first images: its forward depends on the data"
    unplanned = {site: reason for one in quantized.values() for site in one.interpreter.unplanned}
    return Comparison(
        model_name=subject.trace.model_name,
        images=images,
        lanes=names,
        layers=tuple(sums[layer.site].comparison(names, subject.trace) for layer in plan.layers),
        outputs={name: outputs.error(number) for number, name in enumerate(names)},
        float_top1_percent=outputs.float_top1_percent,
        float_figures=outputs.float_figures,
        probe=found,
        not_finite=broken,
        floating=tuple((str(site), reason) for site, reason in (plan.floating | unplanned).items()),
    )
