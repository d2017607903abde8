"""Clipped ranges and corrected biases."""

from typing import ClassVar

from qdiag.planning.formats import PerChannelOption
from qdiag.quantization.methods.method import Method


class Advanced(Method):
    """Ranges and weights clipped where that pays, biases corrected."""

    name = "advanced"
    techniques = ("range-search", "bias-correction")


class AdvancedDepthwise(Advanced):
    """The same with one scale for each channel of depthwise weights."""

    name = "advanced-dw"
    per_channel: ClassVar[PerChannelOption] = "depthwise"
