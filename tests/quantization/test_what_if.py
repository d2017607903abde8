"""A calibrated model with some formats changed is what calibration to those formats gives."""

import pytest
import torch
from torch import nn

from qdiag.errors import OptionError
from qdiag.planning.widths import Widths
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.what_if import what_if


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
    ).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def simple(images: torch.Tensor) -> QuantizedModel:
    return calibrate(network(), images, "simple")


@pytest.mark.parametrize("bits", [16, Widths(4, 8), None])
def test_other_bits_are_as_if_calibrated_so(
    bits: int | Widths | None, simple: QuantizedModel, images: torch.Tensor
) -> None:
    expected = calibrate(simple.module, images, "simple", bits={"3": bits})
    assert torch.equal(what_if(simple, "3", bits=bits)(images), expected(images))
    assert not torch.equal(simple(images), expected(images))


def test_per_channel_is_as_if_calibrated_so_and_taken_back_again(simple: QuantizedModel, images: torch.Tensor) -> None:
    expected = calibrate(simple.module, images, "simple", per_channel="all")
    changed = what_if(simple, per_channel=True)
    assert torch.equal(changed(images), expected(images))
    assert torch.equal(what_if(changed, per_channel=False)(images), simple(images))


def test_a_layer_left_in_float_comes_back(simple: QuantizedModel, images: torch.Tensor) -> None:
    in_float = what_if(simple, "3", bits=None)
    assert in_float.format("3") is None
    assert torch.equal(what_if(in_float, "3", bits=8)(images), simple(images))


def test_an_octave_is_one_step_of_the_exponent(simple: QuantizedModel) -> None:
    before, after = simple.format("3"), what_if(simple, ["3"], octaves=-1).format("3")
    assert before is not None
    assert after is not None
    assert after.exponent == before.exponent - 1


def test_what_cannot_be_changed_is_said(simple: QuantizedModel) -> None:
    with pytest.raises(OptionError, match="no layer is called 'nowhere'"):
        what_if(simple, "nowhere", bits=16)
    with pytest.raises(OptionError, match="nothing to change"):
        what_if(simple, "3")
    with pytest.raises(OptionError, match="9"):
        what_if(simple, "3", bits=99)
