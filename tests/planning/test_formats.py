"""Which format each layer gets, from what the user asks for."""

import dataclasses
import re
from typing import Any

import pytest
import torch

from qdiag.errors import OptionError, SiteNotFound
from qdiag.numerics.granularity import PerChannel, PerTensor
from qdiag.numerics.rounding import Rounding
from qdiag.planning.plan import QuantPlan
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.planning.widths import Widths
from qdiag.tracing.trace import Trace
from qdiag.tracing.tracer import trace
from tests.models import IMAGE, ZOO, Small


@pytest.fixture(scope="module")
def small() -> Trace:
    return trace(Small(), torch.randn(IMAGE))


def bits_of(plan: QuantPlan) -> dict[str, tuple[int | None, int | None]]:
    """Bits of the output and of the weight, by layer."""
    return {
        str(x.site): (x.output.bits if x.output else None, x.weight.bits if x.weight else None) for x in plan.layers
    }


def test_8_bits_for_everything(small: Trace) -> None:
    assert bits_of(plan_quantization(small)) == {
        ":input": (8, None),
        "conv1": (8, 8),
        "conv2": (8, 8),
        ":add": (8, None),
        "pool": (8, None),
        "head": (8, 8),
    }


def test_float_plan_groups_the_same_and_has_no_formats(small: Trace) -> None:
    plan = plan_quantization(small, None)
    assert set(bits_of(plan).values()) == {(None, None)}
    assert [layer.sites for layer in plan.layers] == [layer.sites for layer in plan_quantization(small).layers]


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ({"head": 16}, {"head": 16}),
        ({"head": None}, {"head": None}),
        ({"*": 16, "conv2": 8}, {":input": 16, "conv1": 16, ":add": 16, "pool": 16, "head": 16}),
        ({"relu1": 16}, {"conv1": 16}),  # any operation of a layer names it
        ({"conv*": 16}, {"conv1": 16, "conv2": 16}),
        ({":*": 4}, {":input": 4, ":add": 4}),
        ({"conv1": 16, "conv*": 4}, {"conv1": 16, "conv2": 4}),  # the first that matches
    ],
    ids=str,
)
def test_bits_for_some_layers(small: Trace, bits: dict[str, int | None], expected: dict[str, int | None]) -> None:
    found = {name: output for name, (output, _) in bits_of(plan_quantization(small, bits)).items()}
    assert found == {name: expected.get(name, 8) for name in found}


def test_weights_and_activations_may_have_other_bits(small: Trace) -> None:
    plan = plan_quantization(small, {"conv1": Widths(weights=4, activations=16), "*": Widths(weights=4, activations=8)})
    found = bits_of(plan)
    assert found["conv1"] == (16, 4)
    assert found["conv2"] == (8, 4)
    assert found[":add"] == (8, None)
    assert plan_quantization(small, Widths(4, 8)).label == "4-bit weights, 8-bit activations"
    assert {layer.site: layer.accumulator_bits for layer in plan.layers}[plan.layer("conv1").site] == 64


def test_a_module_path_stands_for_all_inside_it() -> None:
    specimen = ZOO["head over a pyramid"]
    plan = plan_quantization(trace(specimen.model(), specimen.inputs()), {"head": 16, "*": 8})
    raised = {name for name, (bits, _) in bits_of(plan).items() if bits == 16}
    assert raised == {"head.0", "head.2", "head.0#1", "head.2#1", "head.0#2", "head.2#2"}


@pytest.mark.parametrize("pattern", ["conv9", "con", "layer1.*"])
def test_a_pattern_that_no_layer_matches_is_an_error(small: Trace, pattern: str) -> None:
    expected = re.escape(f"bits for {pattern!r}: no layer is called that. There are: :input, conv1, bn1")
    with pytest.raises(OptionError, match=expected):
        plan_quantization(small, {pattern: 16})


@pytest.mark.parametrize("bits", [0, 1, 64, "8", 8.0, {"head": 1}, {"*": -8}], ids=repr)
def test_bits_out_of_range_are_an_error(small: Trace, bits: Any) -> None:
    with pytest.raises(OptionError, match="code: bits"):
        plan_quantization(small, bits)


def test_per_channel_for_depthwise_or_all() -> None:
    specimen = ZOO["channels-last LayerNorm"]
    traced = trace(specimen.model(), specimen.inputs())

    def channels(option: Any) -> list[str]:
        plan = plan_quantization(traced, per_channel=option)
        return [str(x.site) for x in plan.layers if x.weight and x.weight.granularity == PerChannel(0)]

    assert channels(None) == []
    assert channels("depthwise") == ["conv"]
    assert channels("all") == ["conv", "wide", "narrow"]


@pytest.mark.parametrize("option", ["channel", True, "Depthwise"])
def test_per_channel_is_one_of_three(small: Trace, option: Any) -> None:
    with pytest.raises(OptionError, match="option-value"):
        plan_quantization(small, per_channel=option)


def test_targets_round_in_their_own_way(small: Trace) -> None:
    for target, rounding in (("tidl", Rounding.HALF_UP), ("onnxruntime", Rounding.HALF_EVEN)):
        layer = plan_quantization(small, target=target).layer("head")
        assert layer.output is not None
        assert layer.weight is not None
        assert layer.output.rounding is rounding
        assert layer.weight.rounding is Rounding.HALF_EVEN
    with pytest.raises(OptionError, match=r"(?s)onnxruntime, tidl.*unknown-name"):
        plan_quantization(small, target="trt")


def test_accumulators_hold_32_bits_for_8_and_64_for_16(small: Trace) -> None:
    assert plan_quantization(small, 8).layer("head").accumulator_bits == 32
    assert plan_quantization(small, 16).layer("head").accumulator_bits == 64


def test_formats_can_be_exchanged(small: Trace) -> None:
    plan = plan_quantization(small)
    head, pool = plan.layer("head"), plan.layer("pool")
    assert head.weight is not None
    fine = dataclasses.replace(head.weight, bits=16, granularity=PerTensor())
    changed = plan.change(output={pool.site: None}, weight={head.site: fine})
    assert bits_of(changed) == bits_of(plan) | {"pool": (None, None), "head": (8, 16)}
    assert bits_of(plan)["pool"] == (8, None)


def test_an_unknown_layer_is_an_error(small: Trace) -> None:
    with pytest.raises(SiteNotFound, match="no layer at 'conv9'"):
        plan_quantization(small).layer("conv9")


@pytest.mark.parametrize(
    ("bits", "per_channel", "label"),
    [(8, None, "8-bit"), (16, "all", "16-bit all per-channel"), (None, None, "float"), ({"head": 16}, None, "mixed")],
)
def test_labels(small: Trace, bits: Any, per_channel: Any, label: str) -> None:
    assert plan_quantization(small, bits, per_channel).label == label
