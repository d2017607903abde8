"""How close a quantized model is to float: at its outputs and at every stored tensor."""

import math
from typing import Any

import torch
from torch import Tensor

from qdiag.numerics.memory_order import in_memory_order
from qdiag.numerics.metrics.sqnr import sqnr_db
from qdiag.numerics.moments import signal_and_noise
from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps
from qdiag.quantization.calibration import Fidelity
from qdiag.quantization.formats import Formats
from qdiag.quantization.images_at_once import images_at_once
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.batches import batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.inputs import named_leaves
from qdiag.tracing.site import Site

IMAGES = 32


def fidelity_steps(model: QuantizedModel, data: Any, images: int = IMAGES) -> Steps[Fidelity]:
    """Measure on the first images of the data."""
    sums: dict[Site, Tensor] = {}
    clipped: dict[Site, Tensor] = {}
    output = torch.zeros(2, dtype=torch.float64)

    def meet(layer: Layer, reference: Tensor, twins: list[Tensor], _: list[Tensor]) -> None:
        sums[layer.site] = sums.get(layer.site, 0) + signal_and_noise(reference, twins[0])
        clipped[layer.site] = clipped.get(layer.site, 0) + _clipped(model.formats, layer, reference)

    lockstep = Lockstep(model.in_float(), [model.interpreter], meet)

    def steps() -> Steps[None]:
        for progress, batch in Progress.over(batches(data, model.module).upto(images), "measuring"):
            for part in batch.split(images_at_once(model.plan.trace)):
                result = lockstep.run(part.inputs.in_layout(model.channels_last))
                for _, tensor in named_leaves(result):
                    if tensor.is_floating_point():
                        output.add_(signal_and_noise(tensor, lockstep.twin(tensor, 0)).cpu())
            yield progress

    yield from borrow_stepwise(model.module, steps())
    decibels = {site: _decibels(powers) for site, powers in sums.items()}
    shares = {site: 100 * float(count[0]) / max(1.0, float(count[1])) for site, count in clipped.items()}
    return Fidelity(_decibels(output), decibels, shares)


def _clipped(formats: Formats, layer: Layer, reference: Tensor) -> Tensor:
    """[values beyond the format's ends by more than rounding, values]."""
    qparams, factor = formats.qparams.get(layer.site), formats.factor(layer, reference)
    if qparams is None:
        return torch.zeros(2)
    scaled = in_memory_order(reference if factor is None else reference * factor)
    least, most = qparams.low - 0.5 * qparams.tensor_scale, qparams.clip
    low, high = torch.aminmax(scaled) if scaled.numel() else (least, most)
    beyond = float(((scaled > most) | (scaled < least)).sum()) if low < least or high > most else 0.0
    return torch.tensor([beyond, scaled.numel()], dtype=torch.float64)


def _decibels(powers: Tensor) -> float:
    signal, noise = powers.tolist()
    return sqnr_db(signal, noise) if signal else math.inf  # a tensor of zeros has nothing to lose
