"""Channels of single layers, equalized on request."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import OptionError
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.equalize import equalize
from qdiag.quantization.quantized_model import QuantizedModel


def network() -> nn.Sequential:
    """Two pairs of convolutions, in both of which one channel is 64 times as loud as the others."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)]
    with torch.no_grad():
        for first, second in itertools.pairwise(convolutions):
            assert first.bias is not None
            first.weight[0] *= 64
            first.bias[0] *= 64
            second.weight[:, 0] /= 64
    a, b, c = convolutions
    return nn.Sequential(a, nn.ReLU(), b, nn.ReLU(), c).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def simple(images: Tensor) -> QuantizedModel:
    return calibrate(network(), images, "simple")


@torch.no_grad()
def error(quantized: QuantizedModel, images: Tensor) -> float:
    expected = quantized.module(images)
    return float((quantized(images) - expected).norm() / expected.norm())


def test_all_layers_are_equalized_as_the_technique_does(simple: QuantizedModel, images: Tensor) -> None:
    found = equalize(simple, images)
    expected = calibrate(simple.module, images, ["equalization"])
    assert torch.equal(found(images), expected(images))
    assert error(found, images) < error(simple, images) / 4


def test_only_tensors_around_the_layers_change(simple: QuantizedModel, images: Tensor) -> None:
    found = equalize(simple, images, "0")
    assert {str(site) for site in found.calibration.shifts} == {"0"}
    assert found.calibration.shifts[next(iter(found.calibration.shifts))][0] < 0  # the loud channel is held smaller
    assert error(equalize(simple, images), images) < error(found, images) < error(simple, images)
    assert not simple.calibration.shifts


def test_what_cannot_be_equalized_is_said(simple: QuantizedModel, images: Tensor) -> None:
    with pytest.raises(OptionError, match="nothing to equalize"):
        equalize(simple, images, ":input")
    with pytest.raises(OptionError, match="equalized already"):
        equalize(equalize(simple, images, "0"), images, "0")
    with pytest.raises(OptionError, match="no layer is called 'nowhere'"):
        equalize(simple, images, "nowhere")
    more = equalize(equalize(simple, images, "0"), images, "4")
    assert {str(site) for site in more.calibration.shifts} == {"0", "2"}
