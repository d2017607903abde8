"""What a layer's values before rounding tell: whether floats give them exactly, and how far a result lies from them."""

import math

import pytest
import torch

from qdiag.numerics.layer_output import LayerOutput
from qdiag.numerics.qtype import QType


def output(exact: list[float], found: list[float], bits: int = 8) -> LayerOutput:
    qtype = QType(bits, signed=True)
    return LayerOutput(
        torch.tensor([exact], dtype=torch.float64),
        torch.tensor([found], dtype=torch.float64),
        qtype.qmin,
        qtype.qmax,
        qtype,
    )


@pytest.mark.parametrize(
    ("exact", "bits", "is_exact"),
    [
        ([0.5, 1.25, -3.0], 8, True),
        ([2.0**-16, 100.0], 8, True),  # 24 bits hold both
        ([2.0**-17, 100.0], 8, False),
        ([1 / 3, 1.0], 8, False),
        ([2.0**-16, 100.0], 16, False),  # up to 2^15, with 2^-16: 31 bits
        ([2.0**-8, 30000.0], 16, True),
        ([1e9, 0.5], 8, True),  # what saturates is no part of the question
        ([math.nan, 0.5], 8, False),
    ],
)
def test_products_of_integers_are_multiples_of_one_unit(exact: list[float], bits: int, is_exact: bool) -> None:
    assert output(exact, exact, bits).is_exact == is_exact


def test_how_far_an_integer_lies_beyond_its_rounding() -> None:
    assert output([0.5, 1.2, 200.0], [1.0, 1.0, 127.0]).beyond_rounding == 0
    assert output([0.5, 1.2], [0.0, 2.0]).beyond_rounding == pytest.approx(0.3)
    assert math.isnan(output([math.nan], [0.0]).beyond_rounding)
