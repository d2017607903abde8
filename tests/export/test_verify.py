"""`verify` finds where a runtime first computes other integers than the simulation, and finds nothing else."""

import copy
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import InputError, ModelError, OptionError, SiteNotFound
from qdiag.export import verify as room
from qdiag.export.export_onnx import export_onnx
from qdiag.export.exported_model import ExportedModel
from qdiag.export.verify import verify
from qdiag.numerics.ranges.range import Range
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.widths import Bits
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.quantized_model import QuantizedModel
from tests.export.checks import check_integers
from tests.models import calibrate, settle

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SITES = [":input", "stem.0", "depthwise.0", "point.0", ":add", "pool", "head"]


class Net(nn.Module):
    """An inverted residual network whose depthwise channels lie far apart."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU())
        self.point = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.point(self.depthwise(x))
        return self.head(self.pool(x).flatten(1))


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    net = settle(Net(), IMAGES)
    state = net.state_dict()
    spread = 2.0 ** torch.arange(-3, 5)
    for name in ("depthwise.1.weight", "depthwise.1.bias"):
        state[name].mul_(spread)
    state["point.0.weight"].div_(spread.reshape(1, -1, 1, 1))
    return net  # type: ignore[return-value]


Change = Callable[[QuantizedModel], QuantizedModel]


@pytest.fixture
def runtime_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Lets the runtime have the file of a model that is not quite the simulated one."""

    def exchange(change: Change) -> None:
        def export(quantized: QuantizedModel, *args: Any, **kwargs: Any) -> ExportedModel:
            return export_onnx(change(quantized), *args, **kwargs)

        monkeypatch.setattr(room, "export_onnx", export)

    return exchange


@pytest.mark.parametrize("per_channel", [None, "depthwise", "all"])
def test_all_integers_are_equal(model: Net, per_channel: PerChannelOption) -> None:
    found = verify(calibrate(model, IMAGES, per_channel=per_channel), IMAGES)
    assert [site.site for site in found.sites] == SITES
    assert found.images == 8
    assert found.site("stem.0").values == 8 * 8 * 14 * 14
    check_integers(found)


def test_they_are_computed_in_integers(model: Net) -> None:
    kernels = verify(calibrate(model, IMAGES), IMAGES).kernels
    assert kernels["QLinearConv"] == 3
    assert kernels["QLinearAdd"] == kernels["QLinearGlobalAveragePool"] == kernels["QGemm"] == 1
    assert "Conv" not in kernels


@pytest.mark.parametrize("method", [["equalization"], ["equalization", "bias-correction"], "best"])
def test_what_calibration_changed_is_in_the_file(model: Net, method: Any) -> None:
    quantized = calibrate(model, IMAGES, method=method)
    assert any(bool(shift.any()) for shift in quantized.calibration.shifts.values())
    assert bool(quantized.calibration.weights) == (method != ["equalization"])
    check_integers(verify(quantized, IMAGES))


@pytest.mark.parametrize("site", ["stem.0", "depthwise.0", "point.0"])
def test_one_weight_off_by_one_step_is_found_where_it_is(
    model: Net, site: str, runtime_of: Callable[[Change], None]
) -> None:
    def change(quantized: QuantizedModel) -> QuantizedModel:
        layer = quantized.plan.layer(site)
        own = quantized.weights(layer)
        assert own is not None
        weight = own.weight.clone()
        place = weight.abs().argmin()  # a step more or less leaves the tensor's range as it was
        weight.view(-1)[place] += 2.0 ** (torch.ceil(torch.log2(weight.abs().max())) - 7)
        changed = {layer.site: LayerWeights(weight, own.bias, own.made_from)}
        return quantized.change(calibration=quantized.calibration.change(weights=changed))

    runtime_of(change)
    found = verify(calibrate(model, IMAGES), IMAGES)
    assert found.first_differing is not None
    assert found.first_differing.site == site
    assert [layer.agreement.site for layer in found.wrong] == [site]  # those behind it are right
    assert found.exit_code == 1
    assert all(found.site(before).equal == found.site(before).values for before in SITES[: SITES.index(site)])


@pytest.mark.parametrize("site", [":input", "depthwise.0", "point.0", ":add"])
def test_another_exponent_is_found_where_it_is(model: Net, site: str, runtime_of: Callable[[Change], None]) -> None:
    def double(quantized: QuantizedModel) -> QuantizedModel:
        address = quantized.plan.layer(site).site
        ends = quantized.calibration.ranges[address]
        wider = {address: Range(2 * ends.low, 2 * ends.high)}
        return quantized.change(calibration=quantized.calibration.change(ranges=wider))

    runtime_of(double)
    found = verify(calibrate(model, IMAGES), IMAGES)
    assert found.first_differing is not None
    assert found.first_differing.site == site
    assert found.off_by_more > 0
    assert found.exit_code == 1
    assert found.wrong[0].agreement.site == site
    assert f"The first is `{site}`" in found.report().blocks[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("bits", [16, {"depthwise.0": 16, "head": 16, "*": 8}])
def test_sixteen_bits_differ_where_a_floating_point_sum_falls_to_the_other_side_alone(model: Net, bits: Bits) -> None:
    found = verify(calibrate(model, IMAGES, bits=bits), IMAGES)
    assert found.site("depthwise.0").format.startswith("uint16")
    assert found.site("stem.0").format.startswith("uint16" if bits == 16 else "uint8")
    check_integers(found)


@pytest.mark.parametrize(
    ("target", "says"), [("tidl", "rounds half up"), ("onnxruntime", "Both sides round half to even")]
)
def test_an_exchanged_rounding_is_said(model: Net, target: str, says: str) -> None:
    found = verify(calibrate(model, IMAGES, target=target), IMAGES[:1])
    assert found.is_rounding_exchanged == (target == "tidl")
    assert found.target == target
    assert says in found.report().blocks[0].text  # type: ignore[union-attr]


def test_half_up_differs_from_half_to_even_which_is_why_it_is_exchanged(
    model: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_half_to_even", lambda plan: plan)
    found = verify(calibrate(model, IMAGES), IMAGES)
    assert found.off_by_one > 0
    assert found.exit_code == 1
    assert all(layer.is_exact and layer.agreement.largest == 1 for layer in found.wrong)


class Normed(nn.Module):
    """A norm, which both sides compute in floats, between convolutions, which they compute in integers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head, self.epsilon = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), 1e-5

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.layer_norm(self.stem(x), (14, 14), eps=self.epsilon))


@pytest.mark.parametrize(("epsilon", "is_wrong"), [(5e-5, False), (1e-2, True)])
def test_a_float_layer_may_part_at_a_tie_and_what_follows_is_judged_by_what_came_to_it(
    epsilon: float, is_wrong: bool, runtime_of: Callable[[Change], None]
) -> None:
    """An epsilon that is another by a ten-thousandth of the variance stands for sums in another order."""
    torch.manual_seed(0)
    net = Normed().eval()

    def change(quantized: QuantizedModel) -> QuantizedModel:
        other = copy.deepcopy(net)
        other.epsilon = epsilon
        return QuantizedModel(other, quantized.plan, quantized.calibration)

    runtime_of(change)
    found = verify(calibrate(net, IMAGES), IMAGES)
    assert found.site("head").equal < found.site("head").values
    assert [(layer.agreement.site, layer.is_wrong) for layer in found.alone] == [(":layer_norm", is_wrong)]
    assert found.exit_code == is_wrong


def test_a_float_layer_of_sixteen_bits_is_judged_by_the_same_measure() -> None:
    torch.manual_seed(0)
    found = verify(calibrate(Normed().eval(), IMAGES, bits=16), IMAGES)
    assert {layer.agreement.site for layer in found.alone} <= {"stem", ":layer_norm", "head"}
    assert found.exit_code == 0


def test_as_many_images_as_asked_for_one_at_a_time(model: Net) -> None:
    seen: list[Any] = []
    assert verify(calibrate(model, IMAGES), [IMAGES[:3], IMAGES[3:]], images=5, on_progress=seen.append).images == 5
    assert [progress.done for progress in seen] == [1, 2, 3, 4, 5]


def test_no_file_stays_behind(model: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    verify(calibrate(model, IMAGES), IMAGES[:1])
    assert not list(tmp_path.iterdir())


def test_a_quantized_model_of_changed_weights_is_refused(model: Net) -> None:
    quantized = calibrate(copy.deepcopy(model), IMAGES, method=["equalization", "bias-correction"])
    quantized.module.state_dict()["head.weight"].mul_(2)
    with pytest.raises(ModelError, match="calibrate again"):
        verify(quantized, IMAGES)


def test_what_cannot_be_verified_is_refused(model: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    quantized = calibrate(model, IMAGES)
    with pytest.raises(OptionError, match="at least one"):
        verify(quantized, IMAGES, images=0)
    with pytest.raises(InputError, match="cannot take these inputs"):
        verify(quantized, [IMAGES, torch.rand(1, 3, 20, 20)], images=9)
    with pytest.raises(SiteNotFound, match=r"no stored tensor at 'stem\.1'"):
        verify(quantized, IMAGES[:1]).site("stem.1")
    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else installed(name))
    with pytest.raises(OptionError, match="onnxruntime is not installed"):
        verify(quantized, IMAGES)


class Padded(nn.Module):
    """Pads with a number that the tensor before has no place for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.pad(self.first(x).relu(), (1, 1, 1, 1), value=50.0))


def test_a_number_that_is_padded_with_is_held_by_the_format_it_is_stored_in() -> None:
    quantized = calibrate(Padded().eval(), IMAGES)
    verification = verify(quantized, IMAGES[:2])
    assert verification.exit_code == 0
    pad, before = quantized.format(":pad"), quantized.format("first")
    assert pad is not None
    assert before is not None
    assert before.high < 50.0 <= pad.high
