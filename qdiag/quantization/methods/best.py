"""What wins by measurement."""

from qdiag.quantization.methods.method import Method


class Best(Method):
    """Channels equalized, ranges chosen for the outputs, weights solved and rounded to make up for each other."""

    name = "best"
    techniques = ("equalization", "range-search", "probed-ranges", "gptq")
