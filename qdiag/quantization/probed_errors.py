"""How much each layer takes the network's output from float, by random probes sent back through the float network."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qdiag.planning.layer import Layer
from qdiag.progress import Progress, Steps
from qdiag.quantization.fidelity import IMAGES
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.probing import PROBES, Probing, Watch
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.batches import batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.site import Site

AT_ONCE = 8
"""Images whose stored tensors are held at once, each beside its layer's own error."""


def probed_errors_steps(
    model: QuantizedModel, data: Any, images: int = IMAGES, probes: int = PROBES
) -> Steps[dict[Site, float | None]]:
    """An estimate of what `alone_errors_steps` measures, at the cost of four forwards and one for each probe.

    See `Probing`; each image is a sample by itself. None for layers that no gradient reaches, and so cannot be told of.

    Raises ModelError where no gradient comes back from the outputs.
    """
    sums: dict[Site, float | None] = {layer.site: None for layer in model.plan.layers if layer.output is not None}
    generator = torch.Generator().manual_seed(0)
    signal = 0.0

    def steps() -> Steps[None]:
        nonlocal signal
        for progress, batch in Progress.over(batches(data, model.module).upto(images), "probing layers"):
            for part in batch.split(AT_ONCE):
                inputs = part.inputs.in_layout(model.channels_last)
                powers: dict[Site, float] = {}
                watch = _meeting(_own_errors(model, inputs), part.inputs.batch_size, powers)
                signal += Probing(model, watch).run(inputs, generator, probes)
                for site, power in powers.items():
                    sums[site] = (sums[site] or 0.0) + power / probes
            yield progress

    yield from borrow_stepwise(model.module, steps())
    return {site: None if power is None else power / signal if signal else 0.0 for site, power in sums.items()}


def _own_errors(model: QuantizedModel, inputs: Inputs) -> dict[Site, Tensor]:
    """What each layer adds to its stored tensor by itself, from exact inputs."""
    found: dict[Site, Tensor] = {}

    def meet(layer: Layer, reference: Tensor, _: list[Tensor], added: list[Tensor]) -> None:
        found[layer.site] = added[0] - reference

    Lockstep(model.in_float(), [model.interpreter], meet, added=True).run(inputs)
    return found


def _meeting(own: Mapping[Site, Tensor], images: int, powers: dict[Site, float]) -> Watch:
    """Adds to the powers, for each probe, the squared products of a layer's gradient with its own error, by image."""

    def watch(layer: Layer, _: Tensor) -> Callable[[Tensor], None] | None:
        error = own.get(layer.site)
        if error is None:
            return None

        def met(gradient: Tensor) -> None:
            products = (gradient * error).flatten(1) if len(error) == images else (gradient * error).flatten()[None]
            powers[layer.site] = powers.get(layer.site, 0.0) + float(products.sum(1).double().square().sum())

        return met

    return watch
