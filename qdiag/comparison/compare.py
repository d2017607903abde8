"""`compare()`: float, 16-bit and 8-bit tensors at every layer, in one streaming pass over the data."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.decision_tape import DecisionTape
from qdiag.comparison.labels import Task, as_tensor_if_any, check_task
from qdiag.comparison.layer_sums import LayerSums
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.output_leaves import Met, met_apart, met_in_lockstep
from qdiag.comparison.outputs import OutputSums
from qdiag.comparison.probe import probe
from qdiag.errors import OptionError
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.layer import Layer
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Progress, Steps, run
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.lockstep import Lockstep, Meet
from qdiag.quantization.quantized_model import QuantizedModel, layout
from qdiag.quantization.reference_check import check_reference
from qdiag.tracing.guest import borrow, borrow_stepwise
from qdiag.tracing.inputs import Batch, Inputs, batches, example, first_batch, forward
from qdiag.tracing.trace import Trace
from qdiag.tracing.tracer import trace

CALIBRATION_IMAGES = 128
ADDED_IMAGES = 16
# Values of the largest tensor that are worked on at once: what a processor's cache and allocator handle without
# going to the system for every tensor (measured: half the time of batches of 16 images at 224 x 224).
VALUES_AT_ONCE = 4_000_000


def compare(
    model: nn.Module,
    data: Any,
    bits: Sequence[Bits] = (16, 8),
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    method: str = "simple",
    target: str = "tidl",
    quantized: Mapping[str, QuantizedModel] | None = None,
    task: Task | None = None,
    added_images: int = ADDED_IMAGES,
    on_progress: OnProgress = None,
) -> Comparison:
    """Every stored tensor in float and in each fixed-point version, over all of the data.

    data: images, with labels where there are any; streamed, so that memory does not grow with their number.
    calibration_data: where ranges come from; the first 128 images of `data` if not given.
    quantized: models to compare by name, in place of ones calibrated here to `bits`.
    task: what the outputs mean, "classification", "segmentation", "detection" or "values"; by default what labels that
    fit say, and without any, values: each output by itself, and its worst channels.
    added_images: on this many images each layer is also computed from float inputs, to see what it alone adds.

    Raises InputError, ModelError or OptionError before any long work where something cannot be used.
    """
    steps = comparison_steps(
        model,
        data,
        bits,
        per_channel=per_channel,
        calibration_data=calibration_data,
        method=method,
        target=target,
        quantized=quantized,
        task=task,
        added_images=added_images,
    )
    return run(steps, on_progress)


def comparison_steps(
    model: nn.Module,
    data: Any,
    bits: Sequence[Bits] = (16, 8),
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    method: str = "simple",
    target: str = "tidl",
    quantized: Mapping[str, QuantizedModel] | None = None,
    task: Task | None = None,
    labels_decide: bool = True,
    added_images: int = ADDED_IMAGES,
) -> Steps[Comparison]:
    """`compare` as a generator of Progress.

    labels_decide: False where a figure of the user's own does, so that labels that do not fit are no error.
    """
    check_task(task)
    if not isinstance(bits, Sequence) or isinstance(bits, str) or (quantized is None and not bits):
        raise OptionError(
            f"bits={bits!r}: give the bits of each version to compare with float, as bits=(16, 8).", code="no-versions"
        )
    if quantized is None:
        images = CALIBRATION_IMAGES if calibration_data is None else None
        source = data if calibration_data is None else calibration_data
        formats = [(b, per_channel) for b in bits]
        models = yield from calibration_steps(model, source, method, formats, target=target, max_images=images)
        quantized = _named(models)
    if not quantized:
        raise OptionError("nothing to compare float with: `quantized` holds no model.", code="no-versions")
    if any(qm.module is not model for qm in quantized.values()):
        raise OptionError(
            "a quantized model to compare was made from another model than the one given.", code="other-model"
        )
    outputs = OutputSums(len(quantized), task, labels_decide=labels_decide)
    return (yield from _layers_steps(model, data, quantized, outputs, added_images))


def _named(models: Sequence[QuantizedModel]) -> dict[str, QuantizedModel]:
    """By the plans' labels, with a number where a label comes again."""
    named: dict[str, QuantizedModel] = {}
    for model in models:
        alike = sum(model.plan.label == other.plan.label for other in named.values())
        named[f"{model.plan.label} ({alike + 1})" if alike else model.plan.label] = model
    return named


def outputs_steps(
    model: nn.Module,
    data: Any,
    quantized: Mapping[str, QuantizedModel],
    label: str,
    *,
    max_images: int | None = None,
    task: Task | None = None,
    labels_decide: bool = True,
) -> Steps[dict[str, OutputError]]:
    """The outputs alone, of each quantized model: what a change to the plan does to the network's result."""
    outputs = OutputSums(len(quantized), task, labels_decide=labels_decide)
    yield from _stream(
        trace(model, example(data, model)),
        model,
        data,
        quantized,
        outputs,
        lambda *_: None,
        label,
        max_images=max_images,
    )
    return {name: outputs.error(number) for number, name in enumerate(quantized)}


def measured_steps(
    model: nn.Module,
    data: Any,
    version: nn.Module,
    label: str,
    *,
    task: Task | None = None,
    labels_decide: bool = True,
) -> Steps[OutputError]:
    """The outputs alone of any version of the model, trained ones too, beside the model's own."""
    outputs = OutputSums(1, task, labels_decide=labels_decide)
    for progress, batch in Progress.over(batches(data, model), label):
        with borrow(model):
            reference = forward(model, batch.inputs)
        with borrow(version):
            met = met_apart(reference, forward(version, batch.inputs))
        outputs.update(met, batch.targets, batch.inputs.batch_size)
        yield progress
    return outputs.error(0)


def _layers_steps(
    model: nn.Module, data: Any, quantized: Mapping[str, QuantizedModel], outputs: OutputSums, added_images: int
) -> Steps[Comparison]:
    traced = trace(model, example(data, model))
    channels_last = all(qm.channels_last for qm in quantized.values())
    check_reference(model, plan_quantization(traced, None), example(data, model), channels_last=channels_last)
    found = probe(model, first_batch(data, model), traced)
    plan = plan_quantization(traced, None)
    sums = {layer.site: LayerSums(layer, list(quantized.values())) for layer in plan.layers}

    def meet(layer: Layer, reference: Tensor, twins: list[Tensor], added: list[Tensor]) -> None:
        sums[layer.site].update(reference, twins, added)

    images = yield from _stream(
        traced, model, data, quantized, outputs, meet, "comparing", constants=found.constants, added_images=added_images
    )
    names = tuple(quantized)
    reason = "did not run when the model was traced on the first images: its forward depends on the data"
    unplanned = {site: reason for qm in quantized.values() for site in qm.interpreter.unplanned}
    return Comparison(
        model_name=traced.model_name,
        images=images,
        lanes=names,
        layers=tuple(sums[layer.site].comparison(names, traced) for layer in plan.layers),
        outputs={name: outputs.error(number) for number, name in enumerate(names)},
        float_top1_percent=outputs.float_top1_percent,
        float_figures=outputs.float_figures,
        probe=found,
        floating=tuple((str(site), reason) for site, reason in (plan.floating | unplanned).items()),
    )


def _stream(
    traced: Trace,
    model: nn.Module,
    data: Any,
    quantized: Mapping[str, QuantizedModel],
    outputs: OutputSums,
    meet: Meet,
    label: str,
    *,
    constants: Collection[str] = (),
    added_images: int = 0,
    max_images: int | None = None,
) -> Steps[int]:
    """Run all lanes over the data: stored tensors go to `meet`, results to `outputs`. Returns the number of images."""
    channels_last = all(qm.channels_last for qm in quantized.values())
    reference = Interpreter.in_float(model, plan_quantization(traced, None), channels_last=channels_last)
    lanes = [qm.interpreter for qm in quantized.values()]
    for lane in lanes:
        lane.unplanned.clear()

    def steps() -> Steps[int]:
        images = 0
        for progress, batch in Progress.over(batches(data, model), label):
            for part in _divisible(batch).split(_images_at_once(traced)):
                lockstep = Lockstep(reference, lanes, meet, added=images < added_images)
                met = _met(lockstep, layout(part.inputs, channels_last), constants)
                outputs.update(met, part.targets, part.inputs.batch_size)
                images += part.inputs.batch_size
            yield progress
            if max_images is not None and images >= max_images:
                break
        return images

    return (yield from borrow_stepwise(model, steps()))


def _divisible(batch: Batch) -> Batch:
    """The batch with targets in one tensor where they can be, so that it can be split."""
    return dataclasses.replace(batch, targets=as_tensor_if_any(batch.targets))


def _met(lockstep: Lockstep, inputs: Inputs, constants: Collection[str]) -> Met:
    """The outputs in all lanes."""
    decides = any(not value.is_floating for _, value in lockstep.reference.plan.trace.outputs)
    with DecisionTape() if decides else nullcontext() as tape:
        result = lockstep.run(inputs)
    return met_in_lockstep(result, lockstep, tape, constants)


def _images_at_once(traced: Trace) -> int:
    """As many images as keep the largest tensor small; a trace is of one or two images."""
    shapes = [value.shape for call in traced.calls for value in call.outputs if value.is_floating]
    largest = max((math.prod(shape) for shape in shapes), default=1)
    images = max((shape[0] for shape in shapes if len(shape) > 1), default=1)
    return max(1, VALUES_AT_ONCE * min(images, 2) // max(largest, 1))
