"""What wins by measurement."""

from qdiag.quantization.methods.method import Method


class Best(Method):
    """Channels equalized, ranges clipped, biases corrected, and then the rounding of all weights trained."""

    name = "best"
    techniques = ("equalization", "range-search", "bias-correction", "reconstruction")
