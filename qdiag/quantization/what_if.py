"""`what_if()`: a calibrated model with some layers in other formats."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from qdiag.errors import OptionError
from qdiag.planning.layer import Layer
from qdiag.planning.widths import LayerBits, Widths
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel


def what_if(
    quantized: QuantizedModel | QuantBaseModule,
    layers: str | Sequence[str] = "*",
    *,
    bits: LayerBits | Literal["same"] = "same",
    per_channel: bool | None = None,
    octaves: int = 0,
) -> QuantizedModel:
    """Change formats of some layers, and nothing else: no image is looked at, and `quantized` stays as it was.

    BatchNorm, weights and biases are those of the calibration.

    Args:
        quantized: A calibrated model, or one of the modules that hold such a model.
        layers: A name, module path or pattern, or several; "*" for all.
        bits: 8, 16 or `Widths(weights, activations)`; None leaves the layers in float.
        per_channel: True gives their weights one scale for each output channel, False one for all; None as it is.
        octaves: Stored tensors' ranges become 2^octaves times as wide: 1 halves the resolution and clips less, -1
            doubles the resolution and clips more.

    Raises:
        OptionError: For a name that no layer has, for bits that no format has, and where nothing is changed.

    >>> import torch
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.ReLU()).eval()
    >>> quantized = calibrate(net, torch.rand(16, 3, 6, 6), "simple")
    >>> changed = what_if(quantized, ":input", bits=16)
    >>> print(changed.format(":input"))
    uint16 · 2^-16
    """
    quantized = quantized_model(quantized)
    plan, known = quantized.plan, quantized.calibration
    patterns = [layers] if isinstance(layers, str) else list(layers)
    chosen = {layer.site: layer for pattern in patterns for layer in plan.matching(pattern)}
    if not chosen or (bits == "same" and per_channel is None and octaves == 0):
        raise OptionError(
            "nothing to change: give layers, and bits=…, per_channel=… or octaves=….", code="nothing-to-change"
        )
    if bits != "same" or per_channel is not None:
        formats = {
            site: (
                _bits(layer) if bits == "same" else bits,
                _has_channel_scales(layer) if per_channel is None else per_channel,
            )
            for site, layer in chosen.items()
        }
        plan = plan.with_formats(formats)
        kept = {site: end for site, end in known.weight_clip_exponents.items() if site not in chosen}
        known = replace(known, weight_clip_exponents=kept)
    wider = {site: known.ranges[site].wider(octaves) for site in chosen if site in known.ranges}
    return quantized.change(plan=plan, calibration=known.change(ranges=wider))


def _bits(layer: Layer) -> LayerBits:
    """As they are; None where the layer stays in float."""
    if layer.output is None:
        return None
    activations = layer.output.bits
    return Widths(activations if layer.weight is None else layer.weight.bits, activations)


def _has_channel_scales(layer: Layer) -> bool:
    return layer.weight is not None and layer.weight.axis is not None
