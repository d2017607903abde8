"""The figures of a comparison, against the same computed directly and by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.comparison.compare import compare
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.layer_error import LayerError
from qdiag.comparison.layer_sums import ChannelPower, noise, weight_error
from qdiag.errors import SiteNotFound
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType
from qdiag.numerics.ready_weight import WeightFacts
from qdiag.planning.layer import Layer
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site
from tests.models import IMAGE, Small, calibrate, settle


@pytest.fixture(scope="module")
def model() -> Small:
    torch.manual_seed(3)
    return settle(Small(), torch.randn(IMAGE))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def batches() -> list[Tensor]:
    return list(torch.randn(12, 3, 12, 12, generator=torch.Generator().manual_seed(5)).split(5))


@pytest.fixture(scope="module")
def quantized(model: Small, batches: list[Tensor]) -> QuantizedModel:
    return calibrate(model, batches)


@pytest.fixture(scope="module")
def found(model: Small, batches: list[Tensor], quantized: QuantizedModel) -> Comparison:
    return compare(model, batches, quantized={"8-bit": quantized}, added_images=12)


def rounded(x: Tensor, exponent: int, low: int, high: int) -> Tensor:
    """Half up, in double precision."""
    return torch.floor(x / 2.0**exponent + 0.5).clamp(low, high) * 2.0**exponent


def stored(x: Tensor, quantized: QuantizedModel, name: str) -> Tensor:
    qparams = quantized.format(name)
    assert qparams is not None
    return rounded(x, int(qparams.exponent), qparams.qtype.qmin, qparams.qtype.qmax)


def merged(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return conv.weight.double() * factor.reshape(-1, 1, 1, 1), norm.bias.double() - norm.running_mean.double() * factor


def quantized_conv(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, input_exponent: int) -> Tensor:
    """The accumulator after an 8-bit convolution, with its bias at the accumulator's scale."""
    weight, bias = merged(conv, norm)
    exponent = math.ceil(math.log2(float(weight.abs().max()))) - 7
    weight = (weight / 2.0**exponent).round().clamp(-128, 127) * 2.0**exponent
    step = 2.0 ** (exponent + input_exponent)
    return F.conv2d(x, weight, (bias / step).round() * step, padding=1)


def relative(test: Tensor, ref: Tensor) -> float:
    return float((test - ref).norm() / ref.norm())


@torch.no_grad()
def test_error_at_a_layer_is_that_of_the_two_networks_run_by_hand(
    model: Small, batches: list[Tensor], quantized: QuantizedModel, found: Comparison
) -> None:
    x = torch.cat(batches).double()
    float_input, ours = x, stored(x, quantized, ":input")
    exponents = {
        name: int(quantized.formats.qparams[quantized.plan.layer(name).site].exponent) for name in (":input", "conv1")
    }
    weight, bias = merged(model.conv1, model.bn1)
    float1 = F.conv2d(float_input, weight, bias, padding=1).relu()
    ours1 = stored(quantized_conv(ours, model.conv1, model.bn1, exponents[":input"]), quantized, "conv1")
    weight, bias = merged(model.conv2, model.bn2)
    float2 = F.conv2d(float1, weight, bias, padding=1)
    ours2 = stored(quantized_conv(ours1, model.conv2, model.bn2, exponents["conv1"]), quantized, "conv2")
    alone2 = stored(quantized_conv(float1, model.conv2, model.bn2, exponents["conv1"]), quantized, "conv2")

    errors = {name: found.layer(name).lanes["8-bit"] for name in (":input", "conv1", "conv2")}
    assert errors[":input"].accumulated["relative_error"] == pytest.approx(relative(ours, x), rel=1e-3)
    assert errors["conv1"].accumulated["relative_error"] == pytest.approx(relative(ours1, float1), rel=1e-3)
    assert errors["conv2"].accumulated["relative_error"] == pytest.approx(relative(ours2, float2), rel=1e-3)
    assert errors["conv2"].added["relative_error"] == pytest.approx(relative(alone2, float2), rel=2e-3)
    assert errors["conv2"].accumulated["max_error"] == pytest.approx(float((ours2 - float2).abs().max()), rel=1e-3)

    def by_channel(error: Tensor, signal: Tensor) -> float:
        return float((error.square().sum((0, 2, 3)) / signal.square().sum((0, 2, 3))).clamp(max=1).mean())

    round_off = by_channel(stored(float2, quantized, "conv2") - float2, float2)
    assert errors["conv2"].rounding_noise == pytest.approx(round_off, rel=2e-3)
    assert errors["conv2"].added_noise == pytest.approx(by_channel(alone2 - float2, float2), rel=2e-3)
    share = 1 - (relative(alone2, float2) / relative(ours2, float2)) ** 2
    assert errors["conv2"].inherited_share == pytest.approx(share, abs=5e-3)


@torch.no_grad()
def test_error_at_the_output_is_that_of_the_quantized_model(
    model: Small, batches: list[Tensor], quantized: QuantizedModel, found: Comparison
) -> None:
    ref, test = (torch.cat([network(batch) for batch in batches]) for network in (model, quantized))
    output = found.outputs["8-bit"]
    assert output.relative_error == pytest.approx(relative(test, ref), rel=1e-3)
    assert output.sqnr_db == pytest.approx(-20 * math.log10(relative(test, ref)), abs=0.01)
    assert output.decisions == found.images == 12
    assert output.agreement_percent == pytest.approx(100 * float((ref.argmax(1) == test.argmax(1)).float().mean()))
    last = found.layer("head").lanes["8-bit"].accumulated
    assert last["relative_error"] == pytest.approx(output.relative_error, rel=1e-4)


def test_layers_come_in_the_order_of_the_forward_with_what_they_are(found: Comparison) -> None:
    assert [str(layer.site) for layer in found.layers] == [":input", "conv1", "conv2", ":add", "pool", "head"]
    assert [layer.title for layer in found.layers] == [
        "input",
        "conv2d",
        "conv2d",
        "add",
        "adaptive_avg_pool2d",
        "linear",
    ]
    assert [layer.is_weighted for layer in found.layers] == [False, True, True, False, False, True]
    assert all((layer.source is None) == (layer.title == "input") for layer in found.layers)
    assert found.layer("bn1") is found.layer("conv1")
    with pytest.raises(SiteNotFound, match=r"(?s)'conv7'.*no-layer"):
        found.layer("conv7")


def test_16_bits_are_about_256_times_as_close(model: Small, batches: list[Tensor]) -> None:
    comparison = compare(model, batches)
    assert comparison.lanes == ("16-bit", "8-bit")
    for layer in comparison.layers:
        coarse, fine = (layer.lanes[lane].accumulated["relative_error"] for lane in ("8-bit", "16-bit"))
        assert coarse is not None
        assert fine is not None
        assert 100 < coarse / fine < 600


def test_versions_with_the_same_label_are_told_apart(model: Small, batches: list[Tensor]) -> None:
    comparison = compare(model, batches, ({"head": 16}, {"conv1": 16}, 8, 8))
    assert comparison.lanes == ("mixed", "mixed (2)", "8-bit", "8-bit (2)")
    assert comparison.layer("head").lanes["mixed"].format.startswith("int16")
    assert comparison.layer("conv1").lanes["mixed (2)"].format.startswith("uint16")
    assert comparison.outputs["8-bit"] == comparison.outputs["8-bit (2)"]


def test_formats_by_layer(found: Comparison, quantized: QuantizedModel) -> None:
    for layer in found.layers:
        assert layer.lanes["8-bit"].format == str(quantized.format(layer.site))


def test_a_float_layer_has_no_format_and_no_figures_about_one(model: Small, batches: list[Tensor]) -> None:
    error = compare(model, batches, ({"pool": None},)).layer("pool").lanes["mixed"]
    assert error.format == "float"
    assert error.accumulated["clipped_percent"] is None
    assert error.accumulated["wasted_bits"] is None
    assert error.accumulated["sqnr_db"] is not None
    assert error.weight is None


def test_added_figures_are_of_the_first_images_only(model: Small, batches: list[Tensor]) -> None:
    without = compare(model, batches, (8,), added_images=0)
    for layer in without.layers:
        assert set(layer.lanes["8-bit"].added.values()) == {None}
        assert layer.lanes["8-bit"].added_noise == 0.0
    some, first = (
        compare(model, batches, (8,), added_images=5),
        compare(model, batches[:1], (8,), calibration_data=batches),
    )
    for layer, other in zip(some.layers, first.layers, strict=True):
        assert layer.lanes["8-bit"].added == pytest.approx(other.lanes["8-bit"].added)


# By hand ------------------------------------------------------------------------------------------------


def layer_of(op: str) -> Layer:
    return Layer((Site("x", op, named_by_module=True),), OperationKind.WEIGHTED)


def test_noise_is_the_mean_over_channels_and_a_channel_is_lost_at_most_once() -> None:
    error, signal = torch.tensor([0.5, 8.0, 3.0]), torch.tensor([1.0, 2.0, 0.0])
    assert noise(error, signal) == pytest.approx((0.5 + 1.0) / 2)  # the last carries no signal
    assert noise(error, torch.zeros(3)) == 0.0
    assert noise(torch.tensor([1.0, 1.0]), torch.tensor([4.0])) == 0.25


def test_channels_lie_along_axis_1_and_of_linear_layers_along_the_last() -> None:
    x = torch.zeros(2, 3, 4)
    x[:, 1], x[:, :, 2] = 2.0, 3.0
    for op, channels, channel in (("conv1d", 3, 1), ("linear", 4, 2), ("layer_norm", 4, 2)):
        power = ChannelPower(layer_of(op))
        power.update(x)
        power.update(x)
        axis = 1 if channels == 3 else 2
        assert torch.equal(power.power, 2 * x.square().sum([d for d in range(3) if d != axis]))
        assert power.loudest()[0] == channel
    single = ChannelPower(layer_of("mean"))
    single.update(torch.tensor([3.0, 4.0]))
    assert single.power.tolist() == [25.0]
    assert single.loudest() == (0, 1.0)


def test_loudness_is_an_amplitude_over_the_medians() -> None:
    power = ChannelPower(layer_of("conv2d"))
    power.update(torch.tensor([1.0, 3.0, 1.0]).reshape(1, 3, 1, 1))
    assert power.loudest() == (1, 3.0)


def facts(magnitudes: list[float], exponent: Any, noise: float = 1e-4) -> WeightFacts:
    axis = 0 if isinstance(exponent, Tensor) else None
    qparams = None if exponent is None else QParams(QType(8, signed=True), exponent, axis=axis)
    count = len(magnitudes)
    return WeightFacts(torch.tensor(magnitudes), qparams, torch.ones(count), torch.full((count,), noise), saturated=2)


def test_weight_error_by_hand() -> None:
    error = weight_error(facts([0.5, 1.0, 0.0625, 0.0], exponent=-7))
    assert error.channel_spread == 16.0  # the channel of zeros is left out
    assert (error.widest_channel, error.poorest_channel) == (1, 2)
    assert error.poorest_bits == 4.0  # 0.0625 is 8 steps of 2^-7: 3 bits and the sign
    assert error.sqnr_db == pytest.approx(40.0)
    assert error.saturated_biases == 2


def test_a_channel_under_half_a_step_has_no_bits_left() -> None:
    assert weight_error(facts([1.0, 2.0**-9], exponent=-7)).poorest_bits == 0.0


def test_per_channel_steps_are_each_channels_own() -> None:
    assert weight_error(facts([1.0, 0.0625], exponent=torch.tensor([-7, -11]))).poorest_bits == 8.0


def test_weights_in_float_have_all_bits() -> None:
    error = weight_error(facts([1.0, 0.5], exponent=None, noise=0.0))
    assert (error.poorest_bits, error.sqnr_db) == (math.inf, math.inf)


def test_shares_by_hand() -> None:
    def error(accumulated: float, added: float, noise: float, rounding: float, clipping: float = 0.0) -> LayerError:
        metrics = {"relative_error": accumulated}, {"relative_error": added}
        return LayerError("int8", *metrics, noise, rounding, 0.0, 0, 1.0, None, clipping)

    assert error(0.5, 0.3, 3.0, 1.0).inherited_share == pytest.approx(1 - 0.36)
    assert error(0.3, 0.5, 3.0, 1.0).inherited_share == 0.0
    assert error(0.0, 0.0, 3.0, 1.0).inherited_share == 0.0
    assert error(math.inf, 0.3, 3.0, 1.0).inherited_share == 0.0
    assert error(0.5, 0.3, 4.0, 1.0).weight_share == 0.75  # what storing does not explain
    assert error(0.5, 0.3, 1.0, 1.5).weight_share == 0.0
    assert error(0.5, 0.3, 0.0, 0.0).weight_share == 0.0
    parted = error(0.5, 0.3, 4.0, 3.0, clipping=2.0)
    assert (parted.weight_share, parted.clipped_share, parted.rounded_share) == (0.25, 0.5, 0.25)
