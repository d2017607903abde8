"""The user's own figure: its interval where it can tell images apart, other readings of images where it is low."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from qdiag import diagnose
from qdiag.comparison.figure import Figure, drop_interval
from qdiag.comparison.figure_readings import better_by_figure


@dataclass(frozen=True)
class Hits:
    """A share of images in percent, by image."""

    found: Tensor

    @property
    def images(self) -> int:
        return len(self.found)

    def __float__(self) -> float:
        return float(self.on(torch.ones(1, self.images)))

    def on(self, counts: Tensor) -> Tensor:
        return 100 * (counts.double() @ self.found.double()) / counts.sum(1)


class Found:
    """Of images whose upper half is lit: in how many the model says so. As a number alone where `is_plain`."""

    figure, best = "hits", 100.0

    def __init__(self, images: Tensor, *, is_plain: bool = False):
        self.images, self.is_plain = images, is_plain

    def __call__(self, model: nn.Module) -> Hits | float:
        with torch.no_grad():
            hits = Hits(model(self.images).flatten() > 0)
        return float(hits) if self.is_plain else hits


class Upper(nn.Module):
    """How much brighter the upper half is than the lower."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.side = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 8, bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.conv.bias.zero_()  # type: ignore[union-attr]
            self.side.weight.copy_(torch.where(torch.arange(8) < 4, 1.0, -1.0).view(1, 1, 8, 1).expand(1, 1, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.side(self.conv(x))


@pytest.fixture
def model() -> nn.Module:
    return Upper().eval()


@pytest.fixture
def lit() -> Tensor:
    """[40, 1, 8, 8]"""
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return images + (torch.arange(8) < 4).float().view(1, 1, 8, 1)


def test_the_interval_is_of_the_same_images_in_both() -> None:
    better, worse = torch.ones(40), (torch.arange(40) % 10 > 0).float()
    low, high = drop_interval(Hits(better), Hits(worse)) or (0.0, 0.0)
    assert 0 < low < 10 < high < 25
    assert drop_interval(Hits(worse), Hits(worse)) == (0.0, 0.0)
    assert drop_interval(100.0, Hits(worse)) is None
    assert drop_interval(Hits(better[:4]), Hits(worse[:4])) is None  # too few to draw from


def test_images_that_are_upside_down_are_found_out_by_a_figure_that_is_low(model: nn.Module, lit: Tensor) -> None:
    turned = lit.flip(2)
    diagnosis = diagnose(model, turned, evaluate=Found(turned))
    assert diagnosis.verdict.kind == "float-is-wrong"
    assert "upside down: 100.0 % of the best in hits" in diagnosis.verdict.text
    assert diagnose(model, lit, evaluate=Found(lit)).verdict.kind == "healthy"


def test_a_plain_number_tells_it_too(model: nn.Module, lit: Tensor) -> None:
    turned = lit.flip(2)
    found = better_by_figure(model, Figure(Found(turned, is_plain=True), 0.0))
    assert found is not None
    assert (found.how, found.right, found.gain_interval, found.images) == ("upside down", 1.0, None, 0)
    assert better_by_figure(model, Figure(Found(lit, is_plain=True), 100.0)) is None


@pytest.mark.parametrize("best", [100.0, None])
def test_a_figure_of_which_nothing_can_be_lost_is_no_health(model: nn.Module, lit: Tensor, best: float | None) -> None:
    def nothing(_: nn.Module) -> float:
        return 0.0

    nothing.best = best  # type: ignore[attr-defined]
    verdict = diagnose(model, lit, evaluate=nothing).verdict
    assert verdict.kind == ("cannot-judge" if best is None else "float-is-wrong")
    assert "reaches 0 in your own figure" in verdict.headline


def test_half_of_a_small_figure_is_a_large_loss(model: nn.Module, lit: Tensor) -> None:
    def small(version: nn.Module) -> float:
        return 0.4 if type(version) is Upper else 0.1

    small.best = 10.0  # type: ignore[attr-defined]
    verdict = diagnose(model, lit, evaluate=small).verdict
    assert verdict.kind == "not-quantization"
