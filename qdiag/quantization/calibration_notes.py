"""What is odd about the data or the weights that a model was calibrated with."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from qdiag.numerics.ready_weight import WeightFacts
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.site import Site

FEW_IMAGES = 16


def calibration_notes(quantized: QuantizedModel) -> Iterator[tuple[str, str]]:
    """Headlines, and what each means."""
    calibration, facts = quantized.calibration, _weight_facts(quantized)
    if 0 < calibration.images < FEW_IMAGES:
        images = f"{calibration.images} image{'s' if calibration.images > 1 else ''}"
        yield f"Calibrated on {images}", "Others may hold larger values, which are then clipped. 128 are plenty."
    constant = [str(site) for site, seen in calibration.seen.items() if seen.low == seen.high]
    if constant:
        text = f"{_some(constant)}: dead channels, or images that are all alike. Their formats are guesses."
        yield f"{_number(constant, 'tensor')} never change" + ("s" if len(constant) == 1 else ""), text
    lost = [f"{site} ({count} of {size})" for site, count, size in _lost_channels(facts)]
    if lost:
        text = (
            f"Channels of {_some(lost)}: others are so much larger that one scale does not hold both. "
            '`per_channel="depthwise"` or `"all"` mends that, and so may the technique `equalization`.'
        )
        yield "Weights of whole channels round to 0", text
    saturated = [str(site) for site, one in facts.items() if one is not None and one.saturated]
    if saturated:
        text = f"In {_some(saturated)}: the accumulator's scale is too fine for them. More bits there would hold them."
        yield f"Biases saturate in {_number(saturated, 'layer')}", text


def _weight_facts(quantized: QuantizedModel) -> dict[Site, WeightFacts | None]:
    return {layer.site: quantized.interpreter.facts(layer) for layer in quantized.plan.layers}


def _lost_channels(facts: Mapping[Site, WeightFacts | None]) -> Iterator[tuple[Site, int, int]]:
    """Layers with channels that are not zero, and round to it: how many, of how many."""
    for site, one in facts.items():
        if one is not None and one.qparams is not None:
            half = 0.5 * torch.as_tensor(one.qparams.scale(one.channel_max))
            lost = int(((one.channel_max > 0) & (one.channel_max < half)).sum())
            if lost:
                yield site, lost, len(one.channel_max)


def _number(things: Sequence[str], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) > 1 else ''}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (" …" if len(names) > 3 else "")
