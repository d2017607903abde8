"""The quantized model: the user's own, run in fixed point."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from qdiag.numerics.ranges.range import Range
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.quantized_model import QuantizedModel
from tests.models import IMAGE, InplaceSum, ReusedRelu, Small, calibrate, settle


@pytest.fixture
def model() -> Small:
    return settle(Small(), torch.randn(IMAGE))  # type: ignore[return-value]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(8, 3, 12, 12)


def relative(test: Tensor, ref: Tensor) -> float:
    return float((test - ref).norm() / ref.norm())


def test_it_holds_the_users_own_model(model: Small, images: Tensor) -> None:
    quantized = calibrate(model, images)
    assert quantized.module is model
    assert {key.removeprefix("module.") for key in quantized.state_dict()} == {*model.state_dict(), "_extra_state"}


def test_ranges_are_saved_with_the_weights(model: Small, images: Tensor) -> None:
    quantized = calibrate(model, images)
    file = io.BytesIO()
    torch.save(quantized.state_dict(), file)
    file.seek(0)
    other = calibrate(settle(Small(), torch.randn(IMAGE)), 100 * images)
    assert other.calibration.ranges != quantized.calibration.ranges
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.calibration.ranges == quantized.calibration.ranges
    assert torch.equal(other(images), quantized(images))


def test_a_copy_is_independent(model: Small, images: Tensor) -> None:
    quantized = calibrate(model, images)
    expected = quantized(images)
    other = copy.deepcopy(quantized)
    with torch.no_grad():
        other.module.get_parameter("head.weight").zero_()
    assert torch.equal(quantized(images), expected)
    assert not torch.equal(other(images), expected)


def other_weights(model: Small) -> dict[str, Tensor]:
    return settle(Small(), torch.randn(IMAGE)).state_dict()


def load_all(model: Small) -> None:
    model.load_state_dict(other_weights(model))


def write_past_autograd(model: Small) -> None:
    model.conv1.weight.data.mul_(-1)


def write_to_the_norm(model: Small) -> None:
    assert model.bn1.running_var is not None
    model.bn1.running_var *= 4


def replace_data(model: Small) -> None:
    model.head.weight.data = torch.randn(5, 8)


def replace_parameter(model: Small) -> None:
    model.head.bias = nn.Parameter(torch.ones(5))


def step_of_an_optimizer(model: Small) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model(torch.randn(IMAGE)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    "change",
    [load_all, write_past_autograd, write_to_the_norm, replace_data, replace_parameter, step_of_an_optimizer],
)
def test_weights_are_those_of_the_module_at_every_forward(model: Small, images: Tensor, change: object) -> None:
    quantized = calibrate(model, images)
    before = quantized(images)
    change(model)  # type: ignore[operator]
    fresh = QuantizedModel(model, quantized.plan, quantized.calibration, channels_last=quantized.channels_last)
    assert torch.equal(quantized(images), fresh(images))
    assert not torch.equal(quantized(images), before)


@pytest.mark.parametrize("training", [True, False])
def test_it_runs_as_in_inference_whatever_the_mode(model: Small, images: Tensor, training: bool) -> None:
    quantized = calibrate(model, images)
    expected = quantized(images)
    assert quantized.train(training) is quantized
    assert torch.equal(quantized(images), expected)
    assert model.training == training
    assert not expected.requires_grad


def test_finer_formats_come_closer(model: Small, images: Tensor) -> None:
    with torch.no_grad():
        expected = model(images)
        errors = [relative(calibrate(model, images, bits=bits)(images), expected) for bits in (4, 6, 8, 12, 16)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert errors[-1] < 1e-4


def test_mixed_formats_lie_between(model: Small, images: Tensor) -> None:
    with torch.no_grad():
        expected = model(images)
        fine, coarse = (relative(calibrate(model, images, bits=bits)(images), expected) for bits in (16, 8))
        mixed = relative(calibrate(model, images, bits={"conv2": 8, "*": 16})(images), expected)
    assert fine < mixed < coarse


def test_layers_without_a_format_are_in_float(model: Small, images: Tensor) -> None:
    quantized = calibrate(model, images, bits=None)
    with torch.no_grad():
        torch.testing.assert_close(quantized(images), model(images), rtol=1e-4, atol=1e-5)
    assert quantized.format("head") is None


def test_per_channel_weights_help_where_channels_differ(model: Small, images: Tensor) -> None:
    with torch.no_grad():
        model.bn2.weight[0] *= 500
        expected = model(images)
        whole = relative(calibrate(model, images, bits={"conv2": 8, "*": 16})(images), expected)
        channels = relative(calibrate(model, images, bits={"conv2": 8, "*": 16}, per_channel="all")(images), expected)
    assert channels <= whole
    facts = {option: calibrated_noise(model, images, option) for option in (None, "all")}
    assert float((facts["all"] < facts[None]).float().mean()) > 0.5


def calibrated_noise(model: Small, images: Tensor, option: object) -> Tensor:
    """Noise of conv2's weight, by channel."""
    quantized = calibrate(model, images, per_channel=option)  # type: ignore[arg-type]
    quantized(images)
    return quantized.interpreter.weight_facts[quantized.plan.layer("conv2").site].noise


@pytest.mark.parametrize(
    ("target", "expected"), [("tidl", [0, 1, 2, 2, 3, 4, 5]), ("onnxruntime", [0, 1, 2, 2, 3, 4, 4])]
)
def test_targets_round_ties_in_their_own_way(target: str, expected: list[int]) -> None:
    """Three quarters of 0, 1, 2 …, stored as whole numbers: 1.5 and 4.5 are ties."""
    conv = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(conv.weight, 0.75)
    model = nn.Sequential(conv)
    images = torch.arange(256.0).reshape(1, 1, 16, 16)
    quantized = calibrate(model, images, target=target)
    whole = {quantized.plan.layer(":input").site: Range(0, 255), quantized.plan.layer("0").site: Range(0, 255)}
    coarse = QuantizedModel(model, quantized.plan, Calibration(whole))
    assert str(coarse.format("0")) == "uint8 · 2^0"
    assert coarse(images).flatten()[:7].tolist() == expected


def test_a_saturated_bias_is_counted() -> None:
    conv = nn.Conv2d(3, 4, 1)
    model = nn.Sequential(conv)
    with torch.no_grad():
        conv.weight.fill_(2.0**-12)
        conv.bias = nn.Parameter(torch.tensor([1e6, -1e6, 0.0, 1.0]))
    quantized = calibrate(model, 2.0**-6 * torch.rand(IMAGE))
    quantized(2.0**-6 * torch.rand(IMAGE))
    facts = quantized.interpreter.weight_facts[quantized.plan.layer("0").site]
    assert facts.saturated == 3  # int8 · 2^-19 weights, uint8 · 2^-14 inputs: 32 bits hold up to 2^31 * 2^-33 = 0.25


@pytest.mark.parametrize("build", [InplaceSum, ReusedRelu])
def test_running_it_twice_gives_the_same(build: type[nn.Module], images: Tensor) -> None:
    quantized = calibrate(settle(build(), images), images)
    assert torch.equal(quantized(images), quantized(images))
