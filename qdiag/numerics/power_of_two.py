"""Powers of two: what the target's scales, and the factors of its channels, are."""

import math

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

MIN_EXPONENT = -16
"""The smallest range is 2^-16: a tensor of zeros gets a format too (QUANTIZATION: PACT2)."""


def ceil_log2(x: float) -> int:
    """The least k with x <= 2^k, exactly: a power of two keeps its own; never below MIN_EXPONENT.

    Args:
        x: A magnitude.

    >>> ceil_log2(1.0), ceil_log2(1.0001), ceil_log2(0.0)
    (0, 1, -16)
    """
    return int(ceil_log2_of(torch.tensor(x, dtype=torch.float64)))


def ceil_log2_of(x: Shaped[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """`ceil_log2` of every element, as integers of the same shape.

    Args:
        x: Magnitudes.

    >>> ceil_log2_of(torch.tensor([1.0, 3.0]))
    tensor([0, 2], dtype=torch.int32)
    """
    mantissa, exponent = torch.frexp(x)  # x = mantissa * 2^exponent with mantissa in [0.5, 1)
    return torch.where(mantissa == 0.5, exponent - 1, exponent).clamp(min=MIN_EXPONENT).where(x > 0, MIN_EXPONENT)


def scale_text(scale: float) -> str:
    """A scale in words: 2^-7 where it is a power of two.

    Args:
        scale: Of a format.

    >>> scale_text(0.0078125), scale_text(0.1)
    ('2^-7', '0.1')
    """
    return f"2^{int(math.log2(scale))}" if is_power_of_two(scale) else f"{scale:g}"


def is_power_of_two(x: float) -> bool:
    """True for 1, 2, 4 … and for 1/2, 1/4 ….

    Args:
        x: Any number.

    >>> is_power_of_two(0.5), is_power_of_two(3)
    (True, False)
    """
    return x > 0 and math.log2(x).is_integer()
