"""Minimum and maximum."""

from qdiag.quantization.methods.method import Method


class Simple(Method):
    """Ranges that clip nothing of what the calibration images showed; weights as they are."""

    name = "simple"
