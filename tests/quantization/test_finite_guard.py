"""NaN and infinity that arise in fixed point alone are named where they arise."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.errors import ModelError, QdiagWarning
from tests.models import calibrate

Function = Callable[[Tensor], Tensor]


def images(count: int = 4) -> Tensor:
    """Dark, but for a pixel: in 8 bits all else is 0."""
    dark = torch.full((count, 3, 6, 6), 1e-3)
    dark[:, :, 2, 2] = 1.0
    return dark


class Between(nn.Module):
    """A function of the positive values between two convolutions."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 2, 1), function
        nn.init.constant_(self.first.weight, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


class Ends(Between):
    """The function gives the result."""

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.first(x))


LEAVING: dict[str, tuple[Function, str]] = {
    "a layer divides": (lambda x: 1e-3 / x, ":div"),
    "0 by 0": (lambda x: x / (x + x), ":div"),
    "a norm of one's own": (lambda x: x / x.square().sum(1, keepdim=True).sqrt(), ":div"),
    "a root of one's own": (lambda x: x * torch.rsqrt(x), ":rsqrt"),
    "a logarithm": (lambda x: torch.log(x).neg() * 0.1 + 1, ":log"),
    "a power": (lambda x: x.pow(-1) * 1e-3, ":pow"),
    "in place": (lambda x: (x + 0).reciprocal_() * 1e-3, ":reciprocal"),
}


@pytest.mark.parametrize("name", LEAVING)
def test_the_site_is_named_and_what_to_do(name: str) -> None:
    function, site = LEAVING[name]
    model = Between(function).eval()
    assert model(images()).isfinite().all()
    says = rf"(?s)site '{site}' computes NaN.*float model does not.*bits=\{{.*: 16, '\*': 8\}}.*fixed-not-finite"
    with pytest.raises(ModelError, match=says):
        compare(model, images())


def test_a_quantized_model_by_itself_names_it_too() -> None:
    model = Between(lambda x: 1e-3 / x).eval()
    quantized = calibrate(model, images() + 0.1)
    with pytest.raises(ModelError, match="site ':div' computes NaN or infinity"):
        quantized(images())


def test_nan_in_a_result_that_stays_in_float_is_warned_of() -> None:
    model = Ends(lambda x: x / x.square().sum(1, keepdim=True).sqrt()).eval()
    quantized = calibrate(model, images() + 0.1)
    with pytest.warns(QdiagWarning, match="site ':div' computes NaN or infinity"):
        quantized(images())
    with pytest.raises(ModelError, match="the network's result holds it"):
        compare(model, images(), quantized={"8-bit": quantized})


def test_with_sixteen_bits_or_a_bound_it_stays_finite() -> None:
    assert calibrate(Between(lambda x: 1e-3 / x.clamp(min=0.1)).eval(), images())(images()).isfinite().all()
    assert calibrate(Between(lambda x: 1e-3 / x).eval(), images(), bits=16)(images()).isfinite().all()


def test_an_infinity_that_is_taken_away_before_it_is_stored_is_no_error() -> None:
    model = Between(lambda x: torch.log(x).clamp(min=-9.0)).eval()
    quantized = calibrate(model, images())
    with warnings.catch_warnings():
        warnings.simplefilter("error", QdiagWarning)
        assert quantized(images()).isfinite().all()


def test_what_the_float_model_computes_too_is_not_blamed_on_fixed_point() -> None:
    model = Between(lambda x: x / x.mean((1, 2, 3), keepdim=True)).eval()
    quantized = calibrate(model, images())
    black = torch.cat([images(2), torch.zeros(2, 3, 6, 6)])
    with pytest.warns(QdiagWarning, match="float model holds"):
        assert compare(model, black, quantized={"8-bit": quantized}).outputs
