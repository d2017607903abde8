"""Calibration by wrapping: the usage of TI's tools."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qdiag.errors import InputError, OptionError
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.modules import QuantCalibrateModule, QuantTestModule
from tests.models import IMAGE, Small, settle


@pytest.fixture
def model() -> nn.Module:
    return settle(Small(), torch.randn(IMAGE)).eval()


def test_shown_images_in_train_mode_it_calibrates_on_the_way_to_eval_mode(model: nn.Module) -> None:
    images = torch.randn(12, 3, 12, 12)
    float_model = copy.deepcopy(model)
    wrapped = QuantCalibrateModule(model, images[:1], method="advanced")
    assert wrapped.train() is wrapped
    with torch.no_grad():
        for batch in images.split(4):
            torch.testing.assert_close(wrapped(batch), float_model(batch))
    assert wrapped.eval() is wrapped
    assert torch.equal(wrapped(images), calibrate(model, list(images.split(4)), "advanced")(images))
    assert wrapped.module is model
    assert set(wrapped.state_dict()) == {f"module.{name}" for name in model.state_dict()} | {"_extra_state"}


def test_what_was_calibrated_is_loaded_elsewhere(model: nn.Module, tmp_path: Path) -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantCalibrateModule(model, images).train()
    wrapped(images)
    expected = wrapped.eval()(images)
    torch.save(wrapped.state_dict(), tmp_path / "calibrated.pt")
    fresh = Small()
    loaded = QuantTestModule(fresh, images)
    loaded.load_state_dict(torch.load(tmp_path / "calibrated.pt", weights_only=True))
    assert torch.equal(loaded.eval()(images), expected)


def test_pretrained_weights_load_strictly_after_wrapping(model: nn.Module) -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantCalibrateModule(copy.deepcopy(model), images, method="simple")
    pretrained = Small().state_dict()
    wrapped.module.load_state_dict(pretrained)
    with torch.no_grad():
        wrapped.train()(images)
        wrapped.eval()(images)
    assert all(torch.equal(value, pretrained[name]) for name, value in wrapped.module.state_dict().items())


def test_only_as_many_images_as_asked_for_are_remembered(model: nn.Module) -> None:
    wrapped = QuantCalibrateModule(model, torch.randn(IMAGE), method="simple", max_images=8).train()
    for _ in range(5):
        wrapped(torch.randn(IMAGE))
    assert len(wrapped.shown) == 2


def test_without_ranges_there_is_no_result(model: nn.Module) -> None:
    images = torch.randn(IMAGE)
    with pytest.raises(InputError, match=r"(?s)Show it images.*no-ranges"):
        QuantCalibrateModule(model, images).eval()(images)
    with pytest.raises(InputError, match=r"(?s)Load what was saved.*no-ranges"):
        QuantTestModule(model, images)(images)
    with pytest.raises(OptionError, match="at least one image"):
        QuantCalibrateModule(model, images, max_images=0)


def test_the_methods_own_channels(model: nn.Module) -> None:
    wrapped = QuantCalibrateModule(model, torch.randn(IMAGE), method="advanced-dw")
    assert wrapped.quantized.plan.label == "8-bit depthwise per-channel"


DAMAGE = [None, "x", float("nan"), float("inf"), [[1]], torch.tensor([float("nan")])]


def _damaged(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path; with none there where that is DELETED."""
    copied = dict(tree) if isinstance(tree, dict) else list(tree)
    key, *rest = path
    if rest:
        copied[key] = _damaged(copied[key], tuple(rest), value)
    elif value is DELETED:
        del copied[key]
    else:
        copied[key] = value
    return copied


DELETED = object()


@pytest.mark.parametrize(
    "path", [("ranges",), ("ranges", "conv"), ("ranges", "conv", 0), ("ranges", "conv", 1)], ids=str
)
def test_a_damaged_range_is_refused_and_nothing_of_it_taken_up(path: tuple[Any, ...]) -> None:
    images = torch.randn(IMAGE)
    quantized = calibrate(settle(OneConv(), images), images)
    before, state = quantized(images), quantized.get_extra_state()
    for value in [*DAMAGE, DELETED]:
        with pytest.raises(InputError) as raised:
            quantized.set_extra_state(_damaged(state, path, value))
        assert raised.value.code == "unreadable-file"
        assert torch.equal(quantized(images), before)


@pytest.mark.parametrize("field", ["axis", "signed", "rounding"])
def test_a_damaged_format_is_refused(field: str) -> None:
    images = torch.randn(IMAGE)
    quantized = calibrate(settle(OneConv(), images), images)
    for value in ["x", float("nan"), [[1]], -1, DELETED]:
        state = _damaged(quantized.get_extra_state(), ("formats", "layers", "conv", "output", field), value)
        with pytest.raises(InputError) as raised:
            quantized.set_extra_state(state)
        assert raised.value.code == "unreadable-file"


class OneConv(nn.Module):
    """A layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)
