"""How much each layer takes the network's output from float, by trying each alone."""

import itertools
from typing import Any

import torch

from qdiag.numerics.moments import signal_and_noise
from qdiag.progress import Progress, Steps
from qdiag.quantization.fidelity import IMAGES
from qdiag.quantization.images_at_once import images_at_once
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.batches import batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.inputs import named_leaves
from qdiag.tracing.site import Site

LANES = 8
"""Versions of the network that share one float forward: memory grows with them."""


def alone_errors_steps(model: QuantizedModel, data: Any, images: int = IMAGES) -> Steps[dict[Site, float]]:
    """For each layer the network's squared output error, over its signal, with nothing but this layer quantized.

    Errors of layers that are quantized together nearly add up where they are small, which makes these numbers
    comparable: a layer's is what is gained where it alone leaves the fixed point. All versions go on from the float
    forward where their layer stands, so that one costs what comes after it: half a forward, on average.
    """
    sites = [layer.site for layer in model.plan.layers if layer.output is not None]
    reference = model.in_float()
    whole = list(batches(data, model.module).upto(images))
    powers = {site: torch.zeros(2, dtype=torch.float64) for site in sites}

    def steps() -> Steps[None]:
        parts = [sites[start : start + LANES] for start in range(0, len(sites), LANES)]
        for number, (part, batch) in enumerate(itertools.product(parts, whole), start=1):
            lanes = [model.change(model.plan.only(site)).interpreter for site in part]
            lockstep = Lockstep(reference, lanes)
            for few in batch.split(images_at_once(model.plan.trace)):
                result = lockstep.run(few.inputs.in_layout(model.channels_last))
                for _, tensor in named_leaves(result):
                    if tensor.is_floating_point():
                        for lane, site in enumerate(part):
                            powers[site] += signal_and_noise(tensor, lockstep.twin(tensor, lane)).cpu()
            yield Progress("trying layers", number, len(parts) * len(whole))

    yield from borrow_stepwise(model.module, steps())
    return {site: float(error / signal) if signal else 0.0 for site, (signal, error) in powers.items()}
