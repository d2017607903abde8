"""Values by channel broadcast along the axis they belong to, and along no other."""

import torch

from qdiag.numerics.channels import by_channel, shift_factor
from qdiag.numerics.ranges.channel_minmax import ChannelMinMax
from qdiag.numerics.ranges.range import Range


def test_values_go_to_the_channels_of_a_weight() -> None:
    weight = torch.ones(2, 3, 1, 1)
    assert torch.equal(
        weight * by_channel(torch.tensor([1.0, 10.0]), weight, 0), weight * torch.tensor([[[[1.0]]], [[[10.0]]]])
    )


def test_values_go_to_the_channels_of_a_stored_tensor() -> None:
    images = torch.ones(2, 3, 4, 5)
    scaled = images * by_channel(torch.tensor([1.0, 2.0, 4.0]), images, 1)
    assert scaled.shape == images.shape
    assert scaled[1, :, 3, 4].tolist() == [1.0, 2.0, 4.0]


def test_values_of_two_axes_keep_both() -> None:
    weight = torch.ones(2, 3, 3, 3)
    both = torch.arange(6.0).reshape(2, 3)
    assert torch.equal((weight * by_channel(both, weight, 1))[:, :, 2, 1], both)


def test_a_shift_is_a_power_of_two_in_the_type_of_what_it_multiplies() -> None:
    factor = shift_factor(torch.tensor([-8, 0, 8], dtype=torch.int8), torch.zeros((), dtype=torch.float64))
    assert factor.dtype is torch.float64
    assert factor.tolist() == [1 / 256, 1.0, 256.0]


def test_channels_that_are_shifted_widen_the_range_of_the_tensor() -> None:
    extremes = ChannelMinMax()
    extremes.update(torch.tensor([[[-1.0], [2.0]], [[0.5], [3.0]]]))
    assert extremes.shifted(torch.tensor([2, 0])) == Range(-4.0, 3.0)
