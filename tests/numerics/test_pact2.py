"""PACT2: clips that follow the extremes of what is seen."""

import math

import pytest
import torch
from torch import nn

from qdiag.errors import InputError, OptionError
from qdiag.numerics.pact2 import MOST_SEEN, PACT2, batch_extremes, follow
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.tracing.tracer import trace


def test_one_in_ten_thousand_is_cut_off_on_each_side() -> None:
    values = torch.arange(MOST_SEEN).float()
    cut = int(MOST_SEEN * 1e-4)
    assert batch_extremes(values[torch.randperm(MOST_SEEN)]).tolist() == [cut, MOST_SEEN - 1 - cut]
    assert batch_extremes(torch.tensor([3.0, -1.0, 2.0])).tolist() == [-1.0, 3.0]


def test_of_maps_every_so_many_rows_and_columns_are_seen() -> None:
    maps = torch.zeros(4, 16, 64, 64)
    maps[:, :, ::4, ::4] = 1.0
    assert batch_extremes(maps).tolist() == [1.0, 1.0]


def test_the_first_batches_are_averaged_and_later_ones_count_for_little() -> None:
    extremes = torch.zeros(2)
    for batches, high in enumerate([1.0, 2.0, 6.0]):
        follow(extremes, torch.tensor([-high, high]), batches)
    torch.testing.assert_close(extremes, torch.tensor([-3.0, 3.0]))
    follow(extremes, torch.tensor([0.0, 0.0]), 10**6)
    torch.testing.assert_close(extremes, torch.tensor([-3.0, 3.0]) * 0.999)


def test_the_clip_is_the_next_power_of_two_and_a_gradient_ends_there() -> None:
    act, x = PACT2(), torch.tensor([-1.0, 0.5, 3.0, 4.5], requires_grad=True)
    act(torch.tensor([0.1, 3.0]))
    assert act.clip == 4.0
    y = act.eval()(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 0.5, 3.0, 4.0]
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_signed_and_bounded_clips() -> None:
    signed = PACT2(signed=True)
    assert signed(torch.tensor([-5.0, 1.0])).tolist() == [-5.0, 1.0]
    assert signed.clip == 8.0
    bounded = PACT2(most=6.0)
    assert bounded(torch.tensor([7.0, 30.0])).tolist() == [6.0, 6.0]


def test_a_plan_sees_it_as_the_activation_of_its_convolution() -> None:
    act, x = PACT2(), torch.randn(2, 1, 8, 8)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), act)
    model(x)
    plan = plan_quantization(trace(model.eval(), x))
    assert [" + ".join(map(str, layer.sites)) for layer in plan.layers] == [":input", "0 + 1 + 2:hardtanh"]
    assert plan.layers[1].bounds == (0.0, act.clip)


def test_nothing_seen_and_no_bound_are_told() -> None:
    with pytest.raises(InputError, match="no batch yet"):
        PACT2().eval()(torch.zeros(1))
    with pytest.raises(OptionError, match="positive"):
        PACT2(most=-1.0)
    assert math.isinf(PACT2().most)
