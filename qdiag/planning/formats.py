"""The formats that a target gives a layer of so many bits."""

import dataclasses
from typing import Literal

from qdiag.numerics.granularity import PerChannel, PerTensor
from qdiag.numerics.qscheme import QScheme
from qdiag.planning.layer import Layer
from qdiag.planning.targets.target import Target
from qdiag.planning.widths import LayerBits, Widths

PerChannelOption = Literal["depthwise", "all"] | None
"""Which weights have one scale for each output channel."""


def resized(layer: Layer, widths: Widths, target: type[Target]) -> Layer:
    """The layer in other bits; what is in float stays so.

    Args:
        layer: Of a plan.
        widths: Bits of its weight and of the tensor that it stores.
        target: Says how wide the accumulator is beside them.
    """
    output, weight = layer.output, layer.weight
    return dataclasses.replace(
        layer,
        output=None if output is None else dataclasses.replace(output, bits=widths.activations),
        weight=None if weight is None else dataclasses.replace(weight, bits=widths.weights),
        accumulator_bits=target.accumulator_bits(widths.activations),
    )


def formatted(layer: Layer, bits: LayerBits, per_channel: PerChannelOption, target: type[Target]) -> Layer:
    """The layer in the formats that a target has for so many bits.

    Args:
        layer: Of a plan.
        bits: Of its weight and of the tensor that it stores; None for float.
        per_channel: Which weights have one scale for each output channel.
        target: Says how its numbers are rounded.
    """
    if bits is None:
        return dataclasses.replace(layer, output=None, weight=None)
    widths = Widths.of(bits)
    weight = None
    if layer.is_weighted:
        by_channel = per_channel == "all" or (per_channel == "depthwise" and layer.is_depthwise)
        weight = QScheme(widths.weights, PerChannel(0) if by_channel else PerTensor(), True, target.weight_rounding)
    output = QScheme(widths.activations, rounding=target.rounding)
    accumulator_bits = target.accumulator_bits(widths.activations)
    return dataclasses.replace(layer, output=output, weight=weight, accumulator_bits=accumulator_bits)
