"""Gradients pass through what is stored between the ends, and stop at what was put on one."""

import pytest
import torch

from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType
from qdiag.numerics.ste import store_through


@pytest.mark.parametrize("overwritten", [False, True])
@pytest.mark.parametrize(
    ("signed", "bounds", "passes"),
    [
        (False, None, [0, 0, 1, 1, 0, 0]),
        (True, None, [1, 1, 1, 0, 0, 0]),  # a signed format ends at -2 and 1.75
        (True, (0.0, 1.0), [0, 0, 1, 0, 0, 0]),
    ],
)
def test_a_gradient_stops_at_both_ends(
    signed: bool, bounds: tuple[float, float] | None, passes: list[int], overwritten: bool
) -> None:
    x = torch.tensor([-1.0, 0.0, 0.3, 3.0, 3.75, 9.0], requires_grad=True)
    stored = store_through(x, QParams(QType(4, signed=signed), -2), bounds, overwritten=overwritten)
    gradient = torch.arange(1.0, 7.0)
    (stored * 1.0).backward(gradient)
    assert x.grad is not None
    assert x.grad.tolist() == [value * passed for value, passed in zip(gradient.tolist(), passes, strict=True)]
