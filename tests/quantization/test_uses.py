"""A range is judged where its values are used."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.progress import run
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.techniques.range_search import RangeSearch
from qdiag.quantization.uses import uses
from tests.models import calibrate


class Tail(nn.Module):
    """A convolution that passes its input on, and what is made of it."""

    def __init__(self, after: Callable[[Tensor], Tensor]):
        super().__init__()
        self.conv, self.after = nn.Conv2d(1, 1, 1, bias=False), after
        nn.init.ones_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(x))


def gated(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def halves_gated(x: Tensor) -> Tensor:
    return x[..., :8] * torch.sigmoid(x[..., 8:])


def used_twice(x: Tensor) -> Tensor:
    return F.silu(x) + x


@pytest.fixture
def images() -> Tensor:
    """Mostly far below zero: minimum -64, maximum 4."""
    return torch.linspace(-64, 4, 4 * 16 * 16).reshape(4, 1, 16, 16)


@pytest.mark.parametrize("after", [F.silu, F.hardswish, gated], ids=["silu", "hardswish", "gated"])
def test_what_is_zero_behind_the_activation_takes_no_range(after: Callable[[Tensor], Tensor], images: Tensor) -> None:
    simple = calibrate(Tail(after).eval(), images, bits={":input": 16, "*": 8})
    assert str(simple.format("conv")) == "int8 · 2^-1"  # ends at 64
    searched = run(RangeSearch().steps(simple, images))
    assert str(searched.format("conv")) == "int8 · 2^-4"  # ends at 8; SiLU(-8) is -0.003
    gain_db = run(fidelity_steps(searched, images)).output_db - run(fidelity_steps(simple, images)).output_db
    assert gain_db > 6  # steps are 8 times finer; those of the result stay


@pytest.mark.parametrize("after", [used_twice, halves_gated, torch.neg], ids=["twice", "halves", "negated"])
def test_what_is_used_as_it_is_keeps_its_range(after: Callable[[Tensor], Tensor], images: Tensor) -> None:
    simple = calibrate(Tail(after).eval(), images)
    assert simple.plan.layer("conv").site not in uses(simple.plan)
    assert str(run(RangeSearch().steps(simple, images)).format("conv")) == "int8 · 2^-1"


def test_the_network_s_output_is_used_as_it_is(images: Tensor) -> None:
    assert not uses(calibrate(Tail(nn.Identity()).eval(), images).plan)


def test_a_clip_that_stands_apart_is_looked_behind(images: Tensor) -> None:
    after = nn.Sequential(nn.Flatten(), nn.Hardtanh(-2.0, 1.0))
    plan = calibrate(Tail(lambda x: after(x * 1.0)).eval(), images).plan
    for site, use in uses(plan).items():
        assert use(torch.tensor([-9.0, 0.5, 9.0])).tolist() == [-2.0, 0.5, 1.0], site
