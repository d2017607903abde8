"""From a range to a power-of-two format."""

import math

import pytest
import torch

from qdiag.numerics.granularity import PerChannel
from qdiag.numerics.power_of_two import ceil_log2, ceil_log2_of
from qdiag.numerics.qparams import QParams, activation_qparams, weight_qparams
from qdiag.numerics.qscheme import QScheme
from qdiag.numerics.qtype import QType
from qdiag.numerics.ranges.minmax import MinMax
from qdiag.numerics.ranges.range import Range


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        # range 8: 8 / 256 = 2^-5 unsigned, 8 / 128 = 2^-4 signed
        (0.0, 6.0, "uint8 · 2^-5"),
        (-6.0, 6.0, "int8 · 2^-4"),
        (-0.5, 6.0, "int8 · 2^-4"),
        # a maximum at a power of two keeps it, the next number above does not
        (0.0, 1.0, "uint8 · 2^-8"),
        (0.0, 1.0 + 2.0**-20, "uint8 · 2^-7"),
        (0.0, 1.0 - 2.0**-20, "uint8 · 2^-8"),
        (0.0, 4.0, "uint8 · 2^-6"),
        (-4.0, 1.0, "int8 · 2^-5"),
        (-4.0 - 2.0**-20, 1.0, "int8 · 2^-4"),
        # numerical dirt below zero costs no bit; half a step of the unsigned format (2^-9 here) is still dirt
        (-1e-6, 1.0, "uint8 · 2^-8"),
        (-(2.0**-9), 1.0, "uint8 · 2^-8"),
        (-(2.0**-9) * 1.01, 1.0, "int8 · 2^-7"),
        # no range is under 2^-16, and zeros say nothing of theirs
        (0.0, 0.0, "uint8 · 2^-8"),
        (0.0, 1e-9, "uint8 · 2^-24"),
        (-1e-9, 0.0, "uint8 · 2^-24"),
        (-1e-5, 0.0, "int8 · 2^-23"),
        (0.0, 300.0, "uint8 · 2^1"),
        (-7.0, -5.0, "int8 · 2^-4"),
    ],
)
def test_formats_of_activations(low: float, high: float, expected: str) -> None:
    assert str(activation_qparams(QScheme(8), Range(low, high))) == expected


def test_a_scheme_may_fix_the_sign() -> None:
    assert str(activation_qparams(QScheme(8, signed=True), Range(0.0, 1.0))) == "int8 · 2^-7"
    assert str(activation_qparams(QScheme(8, signed=False), Range(-1.0, 1.0))) == "uint8 · 2^-8"


def test_16_bits_are_8_bits_finer() -> None:
    for low, high in ((0.0, 3.0), (-3.0, 1.0), (-1e-6, 0.7)):
        coarse = activation_qparams(QScheme(8), Range(low, high))
        fine = activation_qparams(QScheme(16), Range(low, high))
        assert isinstance(coarse.exponent, int)
        assert fine.exponent == coarse.exponent - 8
        assert fine.qtype.signed == coarse.qtype.signed


@pytest.mark.parametrize("exponent", range(-15, 20))
def test_ceil_log2_is_exact_at_powers_of_two(exponent: int) -> None:
    power = 2.0**exponent
    assert ceil_log2(power) == exponent
    assert ceil_log2(math.nextafter(power, math.inf)) == exponent + 1
    assert ceil_log2(power * 0.75) == exponent


def test_ceil_log2_of_tensors_is_that_of_their_elements() -> None:
    x = torch.logspace(-8, 8, 2000).reshape(40, 50)
    expected = [max(math.ceil(math.log2(value)), -16) for value in x.flatten().tolist()]
    assert ceil_log2_of(x).flatten().tolist() == expected


def test_weights_are_signed_and_scaled_by_their_largest_magnitude() -> None:
    weight = torch.tensor([[0.3, -0.9], [0.01, 0.02]])
    assert str(weight_qparams(QScheme(8, signed=True), weight)) == "int8 · 2^-7"
    assert str(weight_qparams(QScheme(8), weight.abs() * 2)) == "int8 · 2^-6"


def test_channels_of_a_weight_are_scaled_each_by_its_own() -> None:
    weight = torch.tensor([[0.3, -0.9], [0.01, 0.02], [0.0, 0.0]])
    rows = weight_qparams(QScheme(8, PerChannel(0)), weight)
    assert torch.equal(torch.as_tensor(rows.exponent), torch.tensor([-7, -12, -23]))  # 1, 2^-5, 2^-16 over 2^7
    assert rows.scale(weight).shape == (3, 1)  # type: ignore[union-attr]
    assert str(rows) == "int8 · 2^-23…2^-7 per channel"
    columns = weight_qparams(QScheme(8, PerChannel(1)), weight)
    assert torch.equal(torch.as_tensor(columns.exponent), torch.tensor([-8, -7]))
    assert columns.scale(weight).shape == (2,)  # type: ignore[union-attr]


def test_ends_of_a_format() -> None:
    qparams = QParams(QType(8, signed=True), -5)
    assert (qparams.low, qparams.high) == (-4.0, 127 / 32)


def test_minmax_is_the_range_of_all_batches() -> None:
    estimator = MinMax()
    assert estimator.range() == Range(0.0, 0.0)
    for batch in (torch.tensor([[1.0, 2.0]]), torch.tensor([-3.0]), torch.zeros(0), torch.tensor([[0.5]])):
        estimator.update(batch)
    assert estimator.range() == Range(-3.0, 2.0)
    assert estimator.range().magnitude == 3.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_single_bad_value_makes_a_range_that_is_not_finite(bad: float) -> None:
    estimator = MinMax()
    for batch in (torch.ones(4), torch.tensor([0.0, bad]), torch.ones(4)):
        estimator.update(batch)
    assert not estimator.range().is_finite


def test_a_format_tells_where_it_ends() -> None:
    signed, unsigned = QParams(QType(8, signed=True), -5), QParams(QType(8, signed=False), -5)
    assert (signed.clip, unsigned.clip) == (4.0, 8.0)
    assert (signed.clip_exponent, unsigned.clip_exponent) == (2, 3)
    assert signed.high + signed.tensor_scale == signed.clip
    by_channel = QParams(QType(8, signed=True), torch.tensor([-5, 0]), axis=0)
    assert torch.equal(torch.as_tensor(by_channel.clip_exponent), torch.tensor([2, 7]))
    assert by_channel.scales == [1 / 32, 1.0]


def test_bits_that_a_channel_uses_are_those_of_its_own_scale() -> None:
    by_channel = QParams(QType(8, signed=True), torch.tensor([-7, -3]), axis=0)
    assert [by_channel.used_bits(1.0, channel) for channel in (0, 1)] == [8.0, 4.0]
    assert QParams(QType(8, signed=True), -7).used_bits(1.0, channel=5) == 8.0


def test_headroom_is_negative_where_values_are_clipped() -> None:
    qparams = QParams(QType(8, signed=True), -5)
    assert qparams.headroom_bits(Range(-8.0, 1.0)) == -1.0
    assert qparams.headroom_bits(Range(0.0, 0.0)) == math.inf


def test_a_finer_format_ends_earlier() -> None:
    assert str(QParams(QType(8, signed=True), -5).finer(2)) == "int8 · 2^-7"


def test_a_range_knows_the_power_of_two_that_holds_it() -> None:
    assert [Range(-1.0, high).clip for high in (0.5, 1.0, 1.01)] == [1.0, 1.0, 2.0]
    assert Range(-3.0, 1.0).wider(1) == Range(-6.0, 2.0)
