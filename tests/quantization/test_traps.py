"""Every construct of the zoo survives quantization: what other tools get silently wrong, or crash on."""

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.lockstep import Lockstep
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs, named_leaves
from qdiag.tracing.tracer import trace
from tests.models import ZOO, Specimen, calibrate, layers_of, settle

every_specimen = pytest.mark.parametrize("specimen", ZOO.values(), ids=ZOO.keys())


@every_specimen
def test_16_bit_reproduces_float(specimen: Specimen) -> None:
    comparison = compare(specimen.model(), Inputs(*specimen.inputs()))
    assert 0 < comparison.outputs["16-bit"].relative_error < 1e-3
    assert comparison.outputs["8-bit"].relative_error < 0.1


@every_specimen
def test_planned_layers_are_what_the_target_stores(specimen: Specimen) -> None:
    assert layers_of(specimen.model(), *specimen.inputs()) == specimen.layers


@every_specimen
def test_what_stays_in_float_is_listed_with_a_reason(specimen: Specimen) -> None:
    plan = plan_quantization(trace(specimen.model(), specimen.inputs()))
    assert tuple(map(str, plan.floating)) == specimen.floating
    assert all(plan.floating.values())


@every_specimen
def test_lane_of_a_comparison_is_the_quantized_models_own_forward(specimen: Specimen) -> None:
    inputs = Inputs(*specimen.inputs())
    quantized = calibrate(specimen.model(), inputs)
    own = [tensor for _, tensor in named_leaves(quantized(*inputs.args))]
    assert own
    for found, expected in zip(lane_outputs(quantized, inputs), own, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def lane_outputs(quantized: QuantizedModel, inputs: Inputs) -> list[Tensor]:
    """The model's outputs in the fixed-point lane that runs beside the float one."""
    model, channels_last = quantized.module, quantized.channels_last
    reference = Interpreter.in_float(model, plan_quantization(trace(model, inputs), None), channels_last=channels_last)
    lockstep = Lockstep(reference, [quantized.interpreter], lambda *_: None, added=True)
    with borrow(model):
        result = lockstep.run(inputs.in_layout(channels_last))
    return [lockstep.twin(tensor, 0) for _, tensor in named_leaves(result)]


def test_a_reused_relu_gets_a_range_for_each_use() -> None:
    specimen = ZOO["one ReLU at two scales"]
    quantized = calibrate(specimen.model(), Inputs(*specimen.inputs()))
    first, second = quantized.format("relu"), quantized.format("relu#1")
    assert first is not None
    assert second is not None
    assert isinstance(first.exponent, int)
    assert isinstance(second.exponent, int)
    assert second.exponent - first.exponent >= 6  # the second takes values about 200 times as large


def test_relu6_stays_a_relu6() -> None:
    specimen = ZOO["ReLU6 over 6"]
    quantized = calibrate(specimen.model(), Inputs(*specimen.inputs()))
    assert str(quantized.format("act")) == "uint8 · 2^-5"  # up to 7.97: 6 is held, and is 192 steps
    stored = stored_tensors(quantized, Inputs(*specimen.inputs()))
    assert float(stored["act"].max()) == 6.0


def test_hardtanh_keeps_its_bounds() -> None:
    specimen = ZOO["Hardtanh"]
    quantized = calibrate(specimen.model(), Inputs(*specimen.inputs()))
    stored = stored_tensors(quantized, Inputs(*specimen.inputs()))["2"]
    assert (float(stored.min()), float(stored.max())) == (-1.0, 127 / 128)


@every_specimen
def test_weights_are_quantized(specimen: Specimen) -> None:
    quantized = calibrate(specimen.model(), Inputs(*specimen.inputs()))
    quantized(*specimen.inputs())
    for layer in quantized.plan.layers:
        if not layer.is_weighted:
            continue
        facts = quantized.interpreter.weight_facts[layer.site]
        assert str(facts.qparams).startswith("int8")
        assert float(facts.noise.sum()) > 0


def stored_tensors(quantized: QuantizedModel, inputs: Inputs) -> dict[str, Tensor]:
    """What the target stores at each layer, by the address of its last operation."""
    found: dict[str, Tensor] = {}
    reference = Interpreter.in_float(quantized.module, plan_quantization(trace(quantized.module, inputs), None))
    lockstep = Lockstep(
        reference,
        [quantized.interpreter],
        lambda layer, _, twins, __: found.update({str(layer.sites[-1]): twins[0].clone()}),
        added=False,
    )
    with borrow(quantized.module):
        lockstep.run(inputs)
    return found


def test_activation_of_timms_batchnorm_is_merged() -> None:
    norms = pytest.importorskip("timm.layers")
    model = settle(nn.Sequential(nn.Conv2d(3, 8, 3), norms.BatchNormAct2d(8)), torch.randn(4, 3, 12, 12))
    images = torch.randn(4, 3, 12, 12)
    assert layers_of(model, images) == (":input", "0 + 1 + 1.act")
    assert compare(model, images).outputs["16-bit"].relative_error < 1e-3


def test_same_padding_of_timm() -> None:
    layers = pytest.importorskip("timm.layers")
    model = nn.Sequential(layers.Conv2dSame(3, 8, 3, stride=2), nn.ReLU()).eval()
    assert layers_of(model, torch.randn(1, 3, 13, 13)) == (":input", "0 + 1")
    assert compare(model, torch.randn(4, 3, 13, 13)).outputs["16-bit"].relative_error < 1e-3


def test_weight_standardization_of_timm() -> None:
    layers = pytest.importorskip("timm.layers")
    model = nn.Sequential(layers.ScaledStdConv2d(3, 8, 3), nn.ReLU()).eval()
    assert layers_of(model, torch.randn(1, 3, 12, 12)) == (":input", "0 + 1")
    assert compare(model, torch.randn(4, 3, 12, 12)).outputs["16-bit"].relative_error < 1e-3
