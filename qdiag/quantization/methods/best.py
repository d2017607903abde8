"""What wins by measurement."""

from qdiag.quantization.methods.method import Method


class Best(Method):
    """Channels equalized, ranges clipped, weights solved and rounded so that errors make up for each other."""

    name = "best"
    techniques = ("equalization", "range-search", "gptq")
