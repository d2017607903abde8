"""Calibration techniques: each does what it says, and the model it is given stays as it was."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import ModelError, OptionError
from qdiag.progress import Steps, run
from qdiag.quantization.calibrate import calibrate as calibrate_model
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.calibration_report import calibration_report
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques import reconstruction
from qdiag.quantization.techniques.bias_correction import BiasCorrection
from qdiag.quantization.techniques.equalization import Equalization
from qdiag.quantization.techniques.range_search import RangeSearch
from qdiag.quantization.techniques.reconstruction import Reconstruction
from qdiag.quantization.techniques.technique import TECHNIQUES, Technique
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs
from tests.models import calibrate, settle


class Depthwise(nn.Module):
    """A small inverted residual network."""

    def __init__(self, act: type[nn.Module] = nn.ReLU6):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), act())
        self.dw = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), act())
        self.pw = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.pw(self.dw(x))
        return self.head(self.pool(x).flatten(1))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network needs no more."""
    monkeypatch.setattr(reconstruction, "MOST_STEPS", 60)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model(images: Tensor) -> Depthwise:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return settle(Depthwise(), images).eval()  # type: ignore[return-value]


def rescaled(model: Depthwise, factors: Tensor) -> Depthwise:
    """The same network in float, with the depthwise layer's channels scaled inside a ReLU network."""
    other = copy.deepcopy(model)
    state = other.state_dict()
    for name in ("dw.1.weight", "dw.1.bias"):
        state[name].mul_(factors)
    state["pw.0.weight"].div_(factors.reshape(1, -1, 1, 1))
    return other


def apply(technique: type[Technique], model: QuantizedModel, data: Tensor) -> QuantizedModel:
    return run(technique().steps(model, data))


def output_db(model: QuantizedModel, data: Tensor) -> float:
    return run(fidelity_steps(model, data)).output_db


def test_equalization_undoes_a_rescaling_of_channels(images: Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        even = settle(Depthwise(nn.ReLU), images).eval()
    assert isinstance(even, Depthwise)
    uneven = rescaled(even, 2.0 ** torch.tensor([0, -2, 1, -3, 4, -4, 2, 0]))
    torch.testing.assert_close(uneven(images), even(images), rtol=1e-4, atol=1e-5)
    as_it_is, before = calibrate(even, images), calibrate(uneven, images)
    after = apply(Equalization, before, images)
    assert output_db(before, images) < output_db(as_it_is, images) - 6
    assert output_db(after, images) > output_db(as_it_is, images) - 2
    shift = after.calibration.shifts[after.plan.layer("dw.0").site]
    assert int(shift[4]) < int(shift[5])  # the widest channel is held down, the narrowest brought up


def test_equalization_leaves_relu6_as_it_is_on_the_calibration_images(model: Depthwise, images: Tensor) -> None:
    equalized = apply(Equalization, calibrate(model, images, bits=16), images)
    shifts = equalized.calibration.shifts
    assert any(bool(shift.any()) for shift in shifts.values())
    assert all(int(shifts[equalized.plan.layer(name).site].min()) >= 0 for name in ("stem.0", "dw.0"))
    assert output_db(equalized, images) > 60  # no channel was cut off below 6


def test_a_shifted_layer_computes_the_rounded_layer_in_the_user_s_own_scale(model: Depthwise, images: Tensor) -> None:
    equalized = apply(Equalization, calibrate(model, images), images)
    layer = equalized.plan.layer("dw.0")
    before, after = (equalized.calibration.shifts[equalized.plan.layer(n).site] for n in ("stem.0", "dw.0"))
    with torch.no_grad():
        equalized(images[:2])
    own = equalized.weights(layer)
    assert own is not None
    scaled = own.weight * torch.exp2(after.float() - before.float()).reshape(-1, 1, 1, 1)
    exponent = int(torch.ceil(torch.log2(scaled.abs().max()))) - 7
    expected = (scaled / 2.0**exponent).round().clamp(-128, 127) * 2.0**exponent
    expected /= torch.exp2(after.float() - before.float()).reshape(-1, 1, 1, 1)
    prepared = equalized.interpreter.operands(layer)
    assert prepared is not None
    torch.testing.assert_close(prepared.weight, expected, rtol=0, atol=0)


def test_bias_correction_makes_the_means_meet(model: Depthwise, images: Tensor) -> None:
    coarse = calibrate(model, images, bits={"*": 4})
    before = coarse.change(plan=coarse.plan.change(output={layer.site: None for layer in coarse.plan.layers}))
    after = apply(BiasCorrection, before, images)
    with torch.no_grad():
        expected, shifted, corrected = model(images).mean(0), before(images).mean(0), after(images).mean(0)
    assert (corrected - expected).abs().max() < 0.3 * (shifted - expected).abs().max()
    moved = after.calibration.weights
    assert {str(site) for site in moved} == {"stem.0", "dw.0", "pw.0", "head"}


def test_range_search_clips_one_outlier_where_that_errs_less(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1, groups=3, bias=False), nn.Conv2d(3, 2, 1))
    model.state_dict()["0.weight"].fill_(1.0)
    data = images.clamp(-1, 1)
    data[0, 0, 0, 0] = 1.01  # a range of 2 for its sake
    before = calibrate(model, data)
    after = apply(RangeSearch, before, data)
    site = before.plan.layer("0").site
    old, new = before.formats.qparams[site].exponent, after.formats.qparams[site].exponent
    assert (old, new) == (-6, -7)
    errors = []
    for exponent in range(old - 3, old + 1):
        rounded = (data * 2.0**-exponent).add(0.5).floor().clamp(-128, 127) * 2.0**exponent
        errors.append((float((rounded - data).square().sum()), exponent))
    assert min(errors)[1] == new


def test_range_search_clips_weights_by_what_that_does_to_the_output(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    weight = model.state_dict()["0.weight"].copy_(torch.linspace(-0.5, 0.5, 108).reshape(4, 3, 3, 3))
    weight[0, 0, 0, 0] = 0.51
    before = calibrate(model, images)
    after = apply(RangeSearch, before, images)
    assert float(after.calibration.weights[after.plan.layer("0").site].weight.abs().max()) == 0.5
    assert output_db(after, images) > output_db(before, images)


def test_reconstruction_brings_the_outputs_nearer_on_other_images_too(model: Depthwise, images: Tensor) -> None:
    before = calibrate(model, images[:24], bits={"*": 5})
    after = apply(Reconstruction, before, images[:24])
    assert output_db(after, images[24:]) > output_db(before, images[24:]) + 2


@pytest.mark.parametrize("technique", list(TECHNIQUES), ids=lambda technique: technique.name)
def test_the_model_is_a_guest(technique: type[Technique], model: Depthwise, images: Tensor) -> None:
    state = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    before = calibrate(model.train(), images)
    calibration = before.calibration.state()
    apply(technique, before, images)
    assert model.training
    assert before.calibration.state() == calibration
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_same_images_give_the_same_model(model: Depthwise, images: Tensor) -> None:
    first, second = (calibrate_model(model, images)(images) for _ in range(2))
    assert torch.equal(first, second)


def test_saved_and_loaded_it_computes_the_same(model: Depthwise, images: Tensor, tmp_path: object) -> None:
    best = calibrate_model(model, images)
    torch.save(best.state_dict(), f"{tmp_path}/best.pt")
    other = calibrate(copy.deepcopy(model), images)
    assert not torch.equal(other(images), best(images))
    other.load_state_dict(torch.load(f"{tmp_path}/best.pt", weights_only=True))
    assert torch.equal(other(images), best(images))


def test_weights_loaded_after_calibration_changed_them_are_refused(model: Depthwise, images: Tensor) -> None:
    best = calibrate_model(model, images, "advanced")
    with torch.no_grad():
        model.head.weight.mul_(2)
    with pytest.raises(ModelError, match=r"(?s)'head'.*weights-changed"):
        best(images)


def test_a_technique_that_does_harm_is_not_kept(
    model: Depthwise, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harm(_: Technique, model: QuantizedModel, data: Any) -> Steps[QuantizedModel]:
        yield from ()
        head = model.plan.layer("head")
        own = model.weights(head)
        assert own is not None
        spoilt = LayerWeights(own.weight * 0, own.bias, own.made_from)
        return model.change(calibration=model.calibration.change(weights={head.site: spoilt}))

    monkeypatch.setattr(BiasCorrection, "steps", harm)
    found = calibrate_model(model, images, "advanced")
    assert [(applied.name, applied.kept) for applied in found.calibration.history] == [
        ("range-search", True),
        ("bias-correction", False),
    ]
    assert output_db(found, images) > 10


def test_best_is_nearer_to_float_than_advanced_and_simple(model: Depthwise, images: Tensor) -> None:
    ways = ("simple", "advanced", "best")
    found = [output_db(calibrate_model(model, images, method, bits={"*": 5}), images) for method in ways]
    assert found == sorted(found)
    assert found[-1] > found[0] + 3


def test_methods_and_techniques_by_name(model: Depthwise, images: Tensor) -> None:
    assert calibrate_model(model, images, "advanced-dw").plan.label == "8-bit depthwise per-channel"
    alone = calibrate_model(model, images, ["bias-correction"])
    assert [applied.name for applied in alone.calibration.history] == ["bias-correction"]
    with pytest.raises(OptionError, match=r"(?s)advanced, advanced-dw, best, simple.*unknown-name"):
        calibrate_model(model, images, "clever")
    with pytest.raises(OptionError, match="no technique 'luck'"):
        calibrate_model(model, images, ["luck"])


def test_the_report_names_techniques_formats_and_what_stays_in_float(model: Depthwise, images: Tensor) -> None:
    best = calibrate_model(model, images)
    best(images[:2])
    report = calibration_report(best)
    frame = report.to_pandas("techniques")
    assert list(frame["technique"]) == ["equalization", "range-search", "probed-ranges", "gptq"]
    formats = report.to_pandas("formats").set_index("site")
    assert str(formats.loc["dw.0", "format"]).startswith("uint8")
    assert "equalization" in repr(report)


@pytest.mark.parametrize("method", ["advanced", "best"])
@pytest.mark.parametrize("case", ["one image", "constant", "dead channel", "negative", "outlier channel"])
def test_degenerate_data_and_weights_give_a_working_model(method: str, case: str, images: Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = settle(Depthwise(), images).eval()
    unusual = {"one image": images[:1], "constant": torch.full_like(images, 0.5), "negative": -images.abs()}
    data = unusual.get(case, images)
    state = model.state_dict()
    if case == "dead channel":
        for name in ("dw.0.weight", "dw.1.weight", "dw.1.bias"):
            state[name][3] = 0
    if case == "outlier channel":
        state["dw.1.weight"][3] *= 1000
    found = calibrate_model(model, data, method)
    with torch.no_grad():
        assert bool(torch.isfinite(found(data)).all())
    with borrow(model):
        expected = InterpreterRun(found.in_float()).forward(Inputs(data))
    error = (found(data) - expected).detach().square().sum() / expected.square().sum()
    assert float(error) < 0.2
