"""Rounding to a format's grid, against integer arithmetic and torch's own."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from qdiag.errors import OptionError
from qdiag.numerics.fake_quantize import fake_quantize, fake_quantize_
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType
from qdiag.numerics.rounding import Rounding

INT8, UINT8 = QType(8, signed=True), QType(8, signed=False)


def values(seed: int = 0) -> Tensor:
    """Reals of many magnitudes, and ties: multiples of 2^-6."""
    generator = torch.Generator().manual_seed(seed)
    reals = torch.randn(4000, generator=generator) * torch.logspace(-3, 3, 4000)
    return torch.cat([reals, torch.arange(-600, 600) / 64])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("exponent", [-20, -7, -5, 0, 3])
def test_half_up_is_the_targets_shift(bits: int, signed: bool, exponent: int) -> None:
    """In integers: inputs as multiples of 2^(exponent - 9), add half, shift right by 9, saturate."""
    fine = exponent - 9
    integers = np.random.default_rng(bits).integers(-(1 << 23), 1 << 23, size=5000)
    integers = np.concatenate([integers, np.arange(-(1 << 12), 1 << 12) << 8])  # every second of these is a tie
    qtype = QType(bits, signed)
    shifted = np.clip((integers + (1 << 8)) >> 9, qtype.qmin, qtype.qmax)
    x = torch.from_numpy(integers).double().mul(2.0**fine).float()
    found = fake_quantize(x, QParams(qtype, exponent))
    np.testing.assert_array_equal(found.double().numpy() / 2.0**exponent, shifted)


@pytest.mark.parametrize("qtype", [INT8, UINT8, QType(16, signed=True)], ids=str)
@pytest.mark.parametrize("exponent", [-7, -5, 0, 2])
def test_half_even_is_torchs_own(qtype: QType, exponent: int) -> None:
    x = values()
    expected = torch.fake_quantize_per_tensor_affine(x, 2.0**exponent, 0, qtype.qmin, qtype.qmax)
    found = fake_quantize(x, QParams(qtype, exponent, Rounding.HALF_EVEN))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_channels_are_rounded_each_to_its_own_grid() -> None:
    x, exponents = torch.randn(3, 5, 4), torch.tensor([-7, -3, 0])
    scales = torch.exp2(exponents.float())
    for axis, tensor in ((0, x), (1, x.transpose(0, 1))):
        expected = torch.fake_quantize_per_channel_affine(tensor, scales, torch.zeros(3).int(), axis, -128, 127)
        found = fake_quantize(tensor, QParams(INT8, exponents, Rounding.HALF_EVEN, axis))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_ties_show_which_rounding_it_is() -> None:
    ties = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    assert Rounding.HALF_UP(ties).tolist() == [-2, -1, 0, 1, 2, 3]
    assert Rounding.HALF_EVEN(ties).tolist() == [-2, -2, 0, 0, 2, 2]


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("qtype", [INT8, UINT8], ids=str)
def test_in_place_form_is_the_same(qtype: QType, rounding: Rounding) -> None:
    qparams, x = QParams(qtype, -5, rounding), values()
    expected = fake_quantize(x, qparams)
    memory = x.data_ptr()
    assert fake_quantize_(x, qparams).data_ptr() == memory
    torch.testing.assert_close(x, expected, rtol=0, atol=0)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize(("low", "high"), [(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0), (-math.inf, 0.3), (0.011, 0.7)])
def test_bounds_after_rounding_are_the_activation_before_it(low: float, high: float, rounding: Rounding) -> None:
    qparams, x = QParams(INT8, -5, rounding), values()
    expected = fake_quantize(x.clamp(low, high), qparams)
    torch.testing.assert_close(fake_quantize_(x.clone(), qparams, (low, high)), expected, rtol=0, atol=0)


def test_rounding_twice_changes_nothing() -> None:
    for qparams in (QParams(INT8, -3), QParams(UINT8, -9), QParams(QType(16, signed=True), -12)):
        once = fake_quantize(values(), qparams)
        torch.testing.assert_close(fake_quantize(once, qparams), once, rtol=0, atol=0)


def test_error_is_at_most_half_a_step_inside_the_range() -> None:
    qparams = QParams(INT8, -5)
    x = values()
    inside = x[(x >= qparams.low) & (x <= qparams.high)]
    assert len(inside) > 1000
    assert float((fake_quantize(inside, qparams) - inside).abs().max()) <= 2.0**-6


def test_input_is_left_alone() -> None:
    x = values()
    before = x.clone()
    fake_quantize(x, QParams(INT8, -5))
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("bits", "signed", "qmin", "qmax"),
    [(8, True, -128, 127), (8, False, 0, 255), (16, True, -32768, 32767), (16, False, 0, 65535), (2, True, -2, 1)],
)
def test_integers_of_a_type(bits: int, signed: bool, qmin: int, qmax: int) -> None:
    qtype = QType(bits, signed)
    assert (qtype.qmin, qtype.qmax) == (qmin, qmax)
    assert str(qtype) == f"{'int' if signed else 'uint'}{bits}"


@pytest.mark.parametrize("bits", [-1, 0, 1, 33])
def test_a_type_has_2_to_32_bits(bits: int) -> None:
    with pytest.raises(OptionError, match=rf"(?s){bits} bits: .*code: bits"):
        QType(bits, signed=True)
