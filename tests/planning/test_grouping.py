"""Which operations the target computes in one go, and what each layer reads."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.planning.clip_bounds import clip_bounds
from qdiag.planning.plan import QuantPlan
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.tracing.tracer import trace
from tests.models import IMAGE, ZOO, InplaceSum, Shuffle, Small, TwoInputs, layers_of


def planned(model: nn.Module, *inputs: Tensor) -> QuantPlan:
    return plan_quantization(trace(model, inputs or torch.randn(IMAGE)))


def sources(plan: QuantPlan) -> dict[str, list[str]]:
    return {str(layer.site): list(map(str, layer.sources)) for layer in plan.layers}


class Forward(nn.Module):
    """A convolution and what a function makes of it."""

    def __init__(self, function: Callable[["Forward", Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def grouped(function: Callable[[Forward, Tensor], Any]) -> tuple[str, ...]:
    return layers_of(Forward(function).eval(), torch.randn(IMAGE))[1:]  # without the input


def test_conv_norm_activation_are_one_layer() -> None:
    assert grouped(lambda m, x: m.act(m.bn(m.conv(x)))) == ("conv + bn + act",)


def test_an_activation_before_the_norm_keeps_them_apart() -> None:
    assert grouped(lambda m, x: m.bn(m.act(m.conv(x)))) == ("conv + act", "bn")


def test_a_norm_whose_input_is_read_by_others_too_is_not_merged() -> None:
    assert grouped(lambda m, x: (y := m.conv(x)) + m.bn(y)) == ("conv", "bn", ":add")


def test_a_norm_whose_input_is_an_output_of_the_network_is_not_merged() -> None:
    assert grouped(lambda m, x: (y := m.conv(x), m.bn(y))) == ("conv", "bn")


def test_an_activation_whose_input_is_read_by_others_too_is_not_merged() -> None:
    assert grouped(lambda m, x: (y := m.bn(m.conv(x))) + m.act(y)) == ("conv + bn", "act", ":add")


def test_an_activation_goes_with_the_sum_before_it() -> None:
    assert grouped(lambda m, x: m.act(m.conv(x) + 1)) == ("conv", ":add + act")


def test_activations_that_are_no_clipping_stand_alone() -> None:
    assert grouped(lambda m, x: torch.sigmoid(m.conv(x))) == ("conv", ":sigmoid")
    assert grouped(lambda m, x: F.hardswish(m.bn(m.conv(x)))) == ("conv + bn", ":hardswish")


def test_moving_values_makes_no_layer() -> None:
    found = grouped(lambda m, x: F.max_pool2d(m.conv(x), 2).flatten(2).transpose(1, 2).reshape(4, -1)[:, 1:])
    assert found == ("conv",)
    assert grouped(lambda m, x: F.interpolate(m.conv(x), scale_factor=2)) == ("conv",)
    assert grouped(lambda m, x: F.interpolate(m.conv(x), scale_factor=2, mode="bilinear")) == ("conv", ":interpolate")


def test_padding_with_a_number_of_its_own_is_stored_through_a_format_that_holds_it() -> None:
    assert grouped(lambda m, x: F.pad(m.conv(x), (1, 1), value=9.0)) == ("conv", ":pad")
    assert grouped(lambda m, x: F.pad(m.conv(x), (1, 1), "constant", -7.5)) == ("conv", ":pad")
    assert grouped(lambda m, x: torch.constant_pad_nd(m.conv(x), (1, 1), 3)) == ("conv", ":constant_pad_nd")
    assert grouped(lambda m, x: m.act(F.pad(m.conv(x), (1, 1), value=9.0))) == ("conv", ":pad + act")


def test_padding_with_what_every_format_holds_moves_values() -> None:
    assert grouped(lambda m, x: nn.ZeroPad2d(1)(m.conv(x))) == ("conv",)
    assert grouped(lambda m, x: F.pad(m.conv(x), (1, 1, 1, 1), mode="reflect")) == ("conv",)
    assert grouped(lambda m, x: F.max_pool2d(F.pad(m.conv(x), (1, 1), value=-math.inf), 2)) == ("conv",)


def test_patches_that_overlap_are_summed() -> None:
    assert grouped(lambda m, x: F.fold(F.unfold(m.conv(x), 3), (10, 10), 3)) == ("conv", ":fold")
    assert grouped(lambda m, x: F.fold(F.unfold(m.conv(x), 2, stride=2), (10, 10), 2, stride=2)) == ("conv",)


def test_a_norm_that_uses_the_batch_is_not_merged() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)).eval()
    assert layers_of(model, torch.randn(IMAGE)) == (":input", "0", "1")


def test_a_chain_of_norms_merges_the_first() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.BatchNorm2d(8)).eval()
    assert layers_of(model, torch.randn(IMAGE)) == (":input", "0 + 1", "2")


def test_what_follows_from_parameters_alone_is_neither_layer_nor_float() -> None:
    specimen = ZOO["weight standardization"]
    model, inputs = specimen.model(), specimen.inputs()
    plan = planned(model, *inputs)
    assert ":mean" not in str(plan.layers)
    assert not plan.floating
    assert {str(site) for site in plan.traced - set(plan.by_site)} == {
        "0:mean",
        "0:var",
        "0:sub",
        "0:add",
        "0:rsqrt",
        "0:mul",
    }


def test_sources_are_the_layers_whose_tensors_are_read() -> None:
    assert sources(planned(InplaceSum())) == {
        ":input": [],
        "conv1": [":input"],
        "conv2": ["conv1"],
        ":add": ["conv2", "conv1"],
    }
    assert sources(planned(Shuffle()))[":cat"] == ["stem", "conv"]
    found = sources(planned(TwoInputs(), *ZOO["two inputs"].inputs()))
    assert (found["depth"], found["color"], found[":sub"]) == ([":input#1"], [":input"], ["color", ":interpolate"])


def test_a_layer_is_found_by_any_of_its_operations() -> None:
    plan = planned(Small())
    layer = plan.layer("conv1")
    assert plan.layer("bn1") is plan.layer("relu1") is layer
    assert all(plan.layer(site) is layer for site in layer.sites)


def test_every_planned_layer_has_a_format() -> None:
    for specimen in ZOO.values():
        for layer in planned(specimen.model(), *specimen.inputs()).layers:
            assert layer.output is not None
            assert (layer.weight is not None) == layer.is_weighted


@pytest.mark.parametrize(
    ("module", "bounds"),
    [
        (nn.ReLU(), (0.0, math.inf)),
        (nn.ReLU6(), (0.0, 6.0)),
        (nn.Hardtanh(-1, 1), (-1.0, 1.0)),
        (nn.Hardtanh(0, 20), (0.0, 20.0)),
        (nn.LeakyReLU(0.1), (-math.inf, math.inf)),
        (nn.PReLU(), (-math.inf, math.inf)),
    ],
    ids=repr,
)
def test_bounds_of_clipping_modules(module: nn.Module, bounds: tuple[float, float]) -> None:
    assert clip_bounds(trace(module, torch.randn(2, 3)).calls[-1]) == bounds


@pytest.mark.parametrize(
    ("function", "bounds"),
    [
        (lambda x: F.relu(x), (0.0, math.inf)),
        (lambda x: x.relu_(), (0.0, math.inf)),
        (lambda x: torch.clamp(x, 0, 6), (0.0, 6.0)),
        (lambda x: x.clamp(max=4), (-math.inf, 4.0)),
        (lambda x: x.clamp_(-2), (-2.0, math.inf)),
        (lambda x: torch.clip(x, min=0.5), (0.5, math.inf)),
        (lambda x: x.clamp_min(0), (0.0, math.inf)),
        (lambda x: torch.clamp_max(x, 3), (-math.inf, 3.0)),
        (lambda x: torch.clamp_min(x, min=1), (1.0, math.inf)),
        (lambda x: F.hardtanh(x), (-1.0, 1.0)),
        (lambda x: F.hardtanh(x, max_val=2.0), (-1.0, 2.0)),
        (lambda x: F.relu6(x), (0.0, 6.0)),
        (lambda x: torch.clamp(x, min=x.mean()), None),
    ],
)
def test_bounds_of_clipping_functions(function: Any, bounds: tuple[float, float] | None) -> None:
    class Clips(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    assert clip_bounds(trace(Clips(), torch.randn(2, 3)).calls[-1]) == bounds


def test_a_clamp_to_computed_bounds_stands_alone() -> None:
    assert grouped(lambda m, x: (y := m.conv(x)).clamp(max=y.mean())) == ("conv", ":mean", ":clamp")
