"""The formats of a calibrated model, with what each rests on."""

import math
from dataclasses import dataclass

from qdiag.numerics.qparams import QParams, activation_qparams
from qdiag.numerics.ranges.range import Range
from qdiag.planning.cost import share_percent
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.quantized_model import QuantizedModel


@dataclass(frozen=True)
class StoredFormat:
    """A stored tensor's format. seen: its extremes on the calibration images, at the scale that it is stored at.

    reason: why the format is what it is. headroom_bits: unused above the largest value. clipped_percent: of the float
    values, beyond the ends; None where no technique measured it. shifts: least and greatest power of two that its
    channels are multiplied by.
    """

    site: str
    title: str
    format: str
    reason: str
    seen: Range
    headroom_bits: float
    clipped_percent: float | None
    shifts: tuple[int, int]


@dataclass(frozen=True)
class WideLayer:
    """A layer with more bits than others. cost_percent: its part in the network's multiply-accumulates."""

    site: str
    title: str
    weight_bits: int | None
    output_bits: int
    cost_percent: float


def stored_formats(quantized: QuantizedModel) -> tuple[StoredFormat, ...]:
    """The format of every stored tensor whose range was seen, in the order of the forward."""
    calibration = quantized.calibration
    clipped = calibration.history[-1].reached.clipped_percent if calibration.history else {}
    formats = []
    for layer in quantized.plan.layers:
        qparams, seen = quantized.formats.qparams.get(layer.site), calibration.seen.get(layer.site)
        if qparams is None or seen is None or layer.output is None:
            continue
        shift = calibration.shifts.get(layer.site)
        formats.append(
            StoredFormat(
                site=str(layer.site),
                title=layer.title,
                format=str(qparams),
                reason=_reason(layer, qparams, activation_qparams(layer.output, seen), seen),
                seen=seen,
                headroom_bits=qparams.headroom_bits(seen),
                clipped_percent=clipped.get(layer.site),
                shifts=(0, 0) if shift is None else (int(shift.min()), int(shift.max())),
            )
        )
    return tuple(formats)


def _reason(layer: Layer, qparams: QParams, covering: QParams, seen: Range) -> str:
    """Why a format is what it is. covering: the one that clips nothing of what was seen."""
    if seen.low == seen.high:
        return "a guess"
    finer = qparams.bits_finer(covering)
    if finer:
        return f"{abs(finer)} bit {'finer' if finer > 0 else 'coarser'}: less error"
    bound = layer.bounds[1] if layer.bounds else math.inf
    return f"bound of {bound:g}" if seen.high == bound else "min, max"


def wide_layers(plan: QuantPlan) -> tuple[WideLayer, ...]:
    """The layers with more bits than those with the least."""
    least = min((layer.output.bits for layer in plan.layers if layer.output is not None), default=0)
    return tuple(
        WideLayer(
            str(layer.site),
            layer.title,
            None if layer.weight is None else layer.weight.bits,
            layer.output.bits,
            share_percent(plan, [layer.site]),
        )
        for layer in plan.layers
        if layer.output is not None and layer.output.bits > least
    )
