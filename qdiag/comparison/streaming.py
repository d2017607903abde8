"""All lanes over the data in one pass: what meets at each layer and at the outputs is summed up, and let go."""

import dataclasses
from collections.abc import Collection, Mapping
from contextlib import nullcontext

from torch import nn

from qdiag.comparison.decision_tape import DecisionTape
from qdiag.comparison.labels import as_tensor_if_any
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.output_leaves import Met, met_apart, met_in_lockstep
from qdiag.comparison.outputs import OutputSums
from qdiag.progress import Progress, Steps
from qdiag.quantization.images_at_once import images_at_once
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.lockstep import Lockstep, Meet
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.tracing.batches import Batch
from qdiag.tracing.borrowing import borrow, borrow_stepwise
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs


def output_sums(subject: Subject, lanes: int) -> OutputSums:
    """For so many lanes; where the user has a figure of their own, labels that do not fit are no error."""
    return OutputSums(lanes, subject.task, labels_decide=subject.evaluate is None)


def outputs_steps(
    subject: Subject, quantized: Mapping[str, QuantizedModel], label: str, max_images: int | None = None
) -> Steps[dict[str, OutputError]]:
    """The outputs alone, of each quantized model: what a change to the plan does to the network's result."""
    outputs = output_sums(subject, len(quantized))
    yield from lanes_steps(subject, quantized, outputs, lambda *_: None, label, max_images=max_images)
    return {name: outputs.error(number) for number, name in enumerate(quantized)}


def measured_steps(subject: Subject, version: nn.Module, label: str) -> Steps[OutputError]:
    """The outputs alone of any version of the model, trained ones too, beside the model's own."""
    outputs = output_sums(subject, 1)
    for progress, batch in Progress.over(subject.data, label):
        with borrow(subject.model):
            reference = forward(subject.model, batch.inputs)
        with borrow(version):
            met = met_apart(reference, forward(version, batch.inputs))
        outputs.update(met, batch.targets, batch.inputs.batch_size)
        yield progress
    return outputs.error(0)


def lanes_steps(
    subject: Subject,
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
    channels_last = all(one.channels_last for one in quantized.values())
    reference = Interpreter.in_float(subject.model, subject.plan(), channels_last=channels_last)
    lanes = [one.interpreter for one in quantized.values()]
    for lane in lanes:
        lane.unplanned.clear()

    def steps() -> Steps[int]:
        images, lockstep = 0, Lockstep(reference, lanes, meet)
        for progress, batch in Progress.over(subject.data, label):
            for part in _divisible(batch).split(images_at_once(subject.trace)):
                lockstep.added = images < added_images
                met = _met(lockstep, part.inputs.in_layout(channels_last), constants)
                outputs.update(met, part.targets, part.inputs.batch_size)
                images += part.inputs.batch_size
            yield progress
            if max_images is not None and images >= max_images:
                break
        return images

    return (yield from borrow_stepwise(subject.model, steps()))


def _divisible(batch: Batch) -> Batch:
    """The batch with targets in one tensor where they can be, so that it can be split."""
    return dataclasses.replace(batch, targets=as_tensor_if_any(batch.targets))


def _met(lockstep: Lockstep, inputs: Inputs, constants: Collection[str]) -> Met:
    """The outputs in all lanes."""
    decides = any(not value.is_floating for _, value in lockstep.reference.plan.trace.outputs)
    with DecisionTape() if decides else nullcontext() as tape:
        result = lockstep.run(inputs)
    return met_in_lockstep(result, lockstep, tape, constants)
