"""A trained network beside the float model that was brought in: what its outputs are held against stays the same."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.output_leaves import joined, met_apart
from qdiag.comparison.streaming import output_sums
from qdiag.progress import Progress, Steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward


@dataclass(frozen=True)
class Brought:
    """The float model that was brought in, and the same in 16 bit."""

    model: nn.Module
    in_16_bit: QuantizedModel


def brought_steps(
    comparison: Comparison, brought: Brought, subject: Subject, quantized: Mapping[str, QuantizedModel]
) -> Steps[Comparison]:
    """The comparison of a trained network, its layers beside its own float, its outputs beside the model brought in.

    The finest lane's outputs are those of the brought model. subject: the trained network.
    """
    finest, *others = comparison.lanes
    sums = output_sums(subject, len(quantized) + 1)
    versions: list[nn.Module] = [brought.in_16_bit, *(quantized[name] for name in others), subject.model]
    for progress, batch in Progress.over(subject.data, "beside the model brought in"):
        with borrow(brought.model):
            reference = forward(brought.model, batch.inputs)
        met = []
        for version in versions:
            with borrow(version):
                met.append(met_apart(reference, forward(version, batch.inputs)))
        sums.update(joined(met), batch.targets, batch.inputs.batch_size)
        yield progress
    outputs = {name: sums.error(number) for number, name in enumerate((finest, *others))}
    return dataclasses.replace(
        comparison,
        outputs=outputs,
        float_top1_percent=sums.float_top1_percent,
        float_figures=sums.float_figures,
        trained=sums.error(len(outputs)),
    )
