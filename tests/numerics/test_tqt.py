"""Learned thresholds against the equations of arXiv:1903.08066, written out."""

import math

import pytest
import torch

from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType
from qdiag.numerics.rounding import Rounding
from qdiag.numerics.tqt import learned_through


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("rounding", Rounding)
def test_gradients_follow_the_equations(signed: bool, rounding: Rounding) -> None:
    qtype, exponent = QType(4, signed), -2
    x = torch.linspace(-6.01, 6.03, 97, requires_grad=True)  # no ties
    threshold = torch.tensor(exponent + 4 - signed - 0.3, requires_grad=True)
    weights = torch.randn(97, generator=torch.Generator().manual_seed(0))
    (learned_through(x, threshold, QParams(qtype, exponent, rounding)) * weights).sum().backward()
    step = 2.0**exponent
    steps = (x.detach() / step + 0.5).floor() if rounding is Rounding.HALF_UP else (x.detach() / step).round()
    inside = (steps >= qtype.qmin) & (steps <= qtype.qmax)
    by_value = torch.where(inside, steps - x.detach() / step, steps.clamp(qtype.qmin, qtype.qmax))
    expected = (weights * step * math.log(2) * by_value).sum()
    assert x.grad is not None
    assert torch.equal(x.grad, weights * inside)
    assert threshold.grad is not None
    torch.testing.assert_close(threshold.grad, expected)


def test_bounds_of_an_activation_are_not_the_formats_ends() -> None:
    """Values beyond a ReLU6's 6 ask for no wider format."""
    x = torch.tensor([-1.0, 3.0, 7.0], requires_grad=True)
    threshold = torch.tensor(2.5, requires_grad=True)
    learned_through(x, threshold, QParams(QType(8, signed=False), -5), (0.0, 6.0)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    assert threshold.grad == 0
