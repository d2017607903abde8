"""Layers chosen for 16 bit within a budget."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import ModelError, OptionError
from qdiag.planning.cost import operations, share_percent
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.plan import QuantPlan
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.progress import run
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.calibration_report import calibration_report
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.modules import QuantCalibrateModule, QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.sensitivity import sensitivity_steps
from qdiag.subject import Subject
from qdiag.tracing.tracer import trace
from tests.models import IMAGE, Small, settle


@pytest.fixture
def images() -> Tensor:
    return torch.randn(16, *IMAGE[1:])


@pytest.fixture
def model(images: Tensor) -> nn.Module:
    """Of a small network, with one channel of the second convolution's weights 100 times the others."""
    model = settle(Small(), images).eval()
    with torch.no_grad():
        model.get_parameter("conv2.weight")[0].mul_(100)
    return model


def costs(plan: QuantPlan) -> dict[str, int]:
    return {str(layer.site): operations(plan, layer) for layer in plan.layers}


def test_operations_are_multiply_accumulates_or_values() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2, bias=False),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 2, 2, stride=2),
        nn.Flatten(),
        nn.Linear(72, 5),
    )
    found = costs(plan_quantization(trace(model, torch.randn(1, 4, 5, 5))))
    assert found == {":input": 100, "0": 6 * 3 * 3 * (2 * 9), "2": 6 * 3 * 3 * (2 * 4), "4": 5 * 72}


def wide(model: QuantizedModel) -> list[str]:
    return [str(layer.site) for layer in model.plan.layers if layer.output is not None and layer.output.bits == 16]


def output_db(model: QuantizedModel, images: Tensor) -> float:
    return run(fidelity_steps(model, images)).output_db


def test_sensitivity_is_the_outputs_error_with_one_layer_quantized(model: nn.Module, images: Tensor) -> None:
    quantized = calibrate(model, images, "simple")
    found = run(sensitivity_steps(quantized, Subject(model, images).data))
    for site, error in found.items():
        alone = quantized.change(quantized.plan.only(site))(images)
        reference = quantized.change(quantized.plan.in_float())(images)
        assert error == pytest.approx(float((alone - reference).square().sum() / reference.square().sum()), rel=1e-3)


@pytest.mark.parametrize("percent", [10, 40, 90])
@pytest.mark.parametrize("method", ["simple", "best"])
def test_a_budget_is_kept_and_brings_outputs_nearer(
    model: nn.Module, images: Tensor, percent: float, method: str
) -> None:
    quantized = calibrate(model, images, method, MacBudget(percent))
    chosen = [layer.site for layer in quantized.plan.layers if str(layer.site) in wide(quantized)]
    assert 0 < len(chosen) < len(quantized.plan.layers)
    assert share_percent(quantized.plan, chosen) <= percent
    assert output_db(quantized, images) > output_db(calibrate(model, images, method), images)


def test_the_whole_budget_is_16_bit_wherever_8_bit_adds_an_error(model: nn.Module, images: Tensor) -> None:
    quantized = calibrate(model, images, "simple", MacBudget(100))
    assert output_db(quantized, images) > 60


def test_the_chosen_layers_are_shown_and_can_be_asked_for_by_name(model: nn.Module, images: Tensor) -> None:
    quantized = calibrate(model, images, "simple", MacBudget(40))
    report = calibration_report(quantized)
    assert list(report.bits) == wide(quantized)
    assert "layers with more bits" in repr(report)
    again = calibrate(model, images, "simple", bits={**report.bits, "*": 8})
    assert torch.equal(again(images), quantized(images))


def test_saved_formats_come_back(model: nn.Module, images: Tensor, tmp_path: Path) -> None:
    wrapped = QuantCalibrateModule(model, images, MacBudget(40), method="advanced-dw").train()
    wrapped(images)
    expected = wrapped.eval()(images)
    torch.save(wrapped.state_dict(), tmp_path / "mixed.pt")
    loaded = QuantTestModule(Small(), images)
    loaded.load_state_dict(torch.load(tmp_path / "mixed.pt", weights_only=True))
    assert torch.equal(loaded.eval()(images), expected)
    assert loaded.quantized.plan.label == wrapped.quantized.plan.label
    other = QuantTestModule(nn.Sequential(nn.Conv2d(3, 2, 3)), images)
    with pytest.raises(ModelError, match="other-model"):
        other.set_extra_state(wrapped.get_extra_state())


def test_a_stopped_budget_goes_on(model: nn.Module, images: Tensor, tmp_path: Path) -> None:
    expected = calibrate(model, images, "best", MacBudget(40))
    for _ in range(2):
        found = calibrate(model, images, "best", MacBudget(40), checkpoint=tmp_path / "run.pt")
        assert torch.equal(found(images), expected(images))
    assert {file.name for file in tmp_path.iterdir()} == {"run.pt", "run.mixed.pt"}


def test_what_is_no_percentage_is_refused() -> None:
    for percent in (0, -1, 101):
        with pytest.raises(OptionError, match="percent of the MACs"):
            MacBudget(percent)
