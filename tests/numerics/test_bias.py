"""The bias in the accumulator, against integers."""

import torch

from qdiag.numerics.bias import quantize_bias


def test_a_bias_is_a_multiple_of_input_scale_times_weight_scale() -> None:
    bias = torch.tensor([0.1, -0.1, 0.0, 3.0])
    rounded, saturated = quantize_bias(bias, 2.0**-12, 32)
    assert (rounded * 2**12).tolist() == [410, -410, 0, 12288]  # 409.6 rounds to 410
    assert saturated == 0


def test_what_does_not_fit_the_accumulator_saturates_and_is_counted() -> None:
    bias = torch.tensor([1000.0, -1000.0, 0.5, 127.0])
    rounded, saturated = quantize_bias(bias, 2.0**-8, 16)  # holds -32768 … 32767 steps of 2^-8: -128 … 127.996
    assert rounded.tolist() == [32767 / 256, -128.0, 0.5, 127.0]
    assert saturated == 2


def test_the_ends_of_the_accumulator_do_not_saturate() -> None:
    steps = torch.tensor([32767.0, -32768.0, 32768.0, -32769.0])
    rounded, saturated = quantize_bias(steps, 1.0, 16)
    assert rounded.tolist() == [32767, -32768, 32767, -32768]
    assert saturated == 2


def test_per_channel_weights_give_each_bias_its_own_step() -> None:
    bias, scales = torch.tensor([0.3, 0.3]), torch.tensor([0.5, 0.125])
    rounded, _ = quantize_bias(bias, scales, 32)
    assert rounded.tolist() == [0.5, 0.25]  # 0.6 and 2.4 steps


def test_64_bits_hold_what_16_bit_products_sum_up_to() -> None:
    rounded, saturated = quantize_bias(torch.tensor([7.5, -7.5]), 2.0**-40, 64)
    assert rounded.tolist() == [7.5, -7.5]
    assert saturated == 0
    assert quantize_bias(torch.tensor([7.5]), 2.0**-40, 32)[1] == 1
