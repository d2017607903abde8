"""The user's own figure: its interval where it can tell images apart, other readings of images where it is low."""

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qdiag import diagnose
from qdiag.comparison.evaluated import as_figure, evaluated
from qdiag.comparison.figure import Figure, drop_interval
from qdiag.comparison.figure_readings import better_by_figure
from qdiag.errors import ModelError, OptionError
from qdiag.explanation.figure_health import figure_trouble
from qdiag.explanation.loss import Loss, loss
from tests.explanation.test_verdict import FINE


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

    def upper(self, x: Tensor) -> float:
        return float(self(x).mean())


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
    low, high = drop_interval(Hits(better), Hits(worse), 100.0) or (0.0, 0.0)
    assert 0 < low < 10 < high < 25
    assert drop_interval(100.0, Hits(worse), 100.0) is None
    assert drop_interval(Hits(better[:4]), Hits(worse[:4]), 100.0) is None  # too few to draw from


def test_images_that_are_all_found_by_both_leave_open_what_others_would_do() -> None:
    unseen = 100 * (1 - 0.025 ** (1 / 40))  # so many such images may be lost without one of 40 among them
    assert drop_interval(Hits(torch.ones(40)), Hits(torch.ones(40)), 100.0) == pytest.approx(
        (-unseen, unseen), abs=0.05
    )


def test_images_that_are_upside_down_are_found_out_by_a_figure_that_is_low(model: nn.Module, lit: Tensor) -> None:
    turned = lit.flip(2)
    diagnosis = diagnose(model, turned, evaluate=Found(turned))
    assert diagnosis.verdict.kind == "float-is-wrong"
    assert "upside down: 100.0 % of the best in hits" in diagnosis.verdict.text
    assert diagnose(model, lit, evaluate=Found(lit, is_plain=True)).verdict.kind == "healthy"


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


class Told(nn.Module):
    """An `evaluate` that gives what `told` makes of the share of images that a model finds, and whether it is float."""

    def __init__(self, images: Tensor, told: Callable[[Hits, bool], Any]):
        super().__init__()
        self.hits, self.told = Found(images), told

    def forward(self, model: nn.Module) -> Any:
        found = self.hits(model)
        assert isinstance(found, Hits)
        return self.told(found, type(model) is Upper)


@pytest.mark.parametrize(
    "told",
    [
        lambda hits, _: None,
        lambda hits, _: {"hits": float(hits)},
        lambda hits, _: hits.found,
        lambda hits, _: complex(float(hits)),
    ],
)
def test_what_is_no_number_is_refused_with_its_type(model: nn.Module, lit: Tensor, told: Callable[..., Any]) -> None:
    with pytest.raises(OptionError) as raised:
        diagnose(model, lit, evaluate=Told(lit, told))
    assert raised.value.code == "option-value"


@pytest.mark.parametrize("told", [lambda h: torch.tensor([h]), lambda h: np.array([h]), np.float32, lambda h: h > 0])
def test_a_number_in_any_form_is_one(model: nn.Module, lit: Tensor, told: Callable[[float], Any]) -> None:
    assert diagnose(model, lit, evaluate=Told(lit, lambda hits, _: told(float(hits)))).verdict.kind == "healthy"


@pytest.mark.parametrize("is_of_float", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_without_a_value_is_never_judged(
    model: nn.Module, lit: Tensor, value: float, is_of_float: bool
) -> None:
    def told(hits: Hits, is_float: bool) -> float:
        return value if is_float is is_of_float else float(hits)

    verdict = diagnose(model, lit, evaluate=Told(lit, told)).verdict
    assert verdict.kind == "cannot-judge"
    assert ("Float itself" if is_of_float else "16-bit") in verdict.headline


def test_a_version_that_falls_without_end_has_lost_everything() -> None:
    output = replace(FINE, score=-math.inf, float_score=90.0)
    assert figure_trouble({"8-bit": output}) is None
    assert loss(output) is Loss.LARGE


def test_an_error_of_the_users_function_is_told_as_one(model: nn.Module, lit: Tensor) -> None:
    with pytest.raises(ModelError, match=r"AttributeError.*its \.module") as raised:
        diagnose(model, lit, evaluate=lambda version: version.upper(lit))  # type: ignore[operator]
    assert raised.value.code == "user-code-raised"
    with pytest.raises(ModelError, match=r"ZeroDivisionError.*float model"):
        diagnose(model, lit, evaluate=lambda _: 1 / 0)
    with pytest.raises(OptionError):
        diagnose(model, lit, evaluate=0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize("of", [lambda model, version: model, lambda model, version: getattr(version, "module", model)])
def test_the_figure_of_another_model_is_none_of_the_version(
    model: nn.Module, lit: Tensor, of: Callable[[nn.Module, nn.Module], nn.Module]
) -> None:
    hits = Found(lit, is_plain=True)
    verdict = diagnose(model, lit, evaluate=lambda version: hits(of(model, version))).verdict
    assert verdict.kind == "cannot-judge"
    assert "16-bit" in verdict.headline
    assert diagnose(model, lit, evaluate=lambda version: hits(copy.deepcopy(version))).verdict.kind == "healthy"


def test_what_is_drawn_at_random_is_drawn_alike_for_every_version(model: nn.Module, lit: Tensor) -> None:
    def evaluate(version: nn.Module) -> float:
        some = torch.randperm(40)[:4]
        return float(version(lit[some]).detach().sum() / 4 + 10 * np.random.random() + 10 * random.random())

    assert float(evaluated(evaluate, model).figure) == float(evaluated(evaluate, copy.deepcopy(model)).figure)


@pytest.mark.parametrize("best", ["100", math.nan, 1.0])
def test_a_best_that_is_none_is_refused(model: nn.Module, lit: Tensor, best: Any) -> None:
    evaluate = Found(lit)
    evaluate.best = best
    if best == "100":
        assert Figure(evaluate, 100.0).best == 100.0
        return
    with pytest.raises(OptionError, match="best"):
        diagnose(model, lit, evaluate=evaluate)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_errors_have_a_best_of_nothing(model: nn.Module, lit: Tensor, offset: float) -> None:
    evaluate = Told(lit, lambda hits, _: float(hits) - 100 - offset)
    evaluate.best = 0.0  # type: ignore[assignment]
    assert diagnose(model, lit, evaluate=evaluate).verdict.kind == "healthy"
    output = replace(FINE, score=-offset - 1.0, float_score=-offset, score_best=0.0)
    assert loss(output) is Loss.LARGE


@dataclass(frozen=True)
class Drawn(Hits):
    """A figure by image whose draws are made into something else."""

    told: Callable[[Tensor], Any] = lambda drawn: drawn

    def __float__(self) -> float:
        return float(super().on(torch.ones(1, self.images)))

    def on(self, counts: Tensor) -> Any:
        return self.told(super().on(counts))


def test_draws_are_taken_in_any_form_and_looked_at() -> None:
    half = (torch.arange(40) % 2).float()
    expected = drop_interval(Hits(torch.ones(40)), Hits(half), 100.0)
    for told in (Tensor.float, Tensor.numpy, Tensor.tolist):
        own = as_figure(Drawn(half, told))
        assert drop_interval(Hits(torch.ones(40)), own, 100.0) == pytest.approx(expected)
    some = Drawn(half, lambda drawn: drawn.masked_fill(torch.arange(len(drawn)) == 3, math.nan))
    assert drop_interval(Hits(torch.ones(40)), some, 100.0) == pytest.approx(expected, rel=0.1)
    none = Drawn(half, lambda drawn: drawn * math.nan)
    assert drop_interval(Hits(torch.ones(40)), none, 100.0) is None
    for told in (lambda drawn: drawn / 100, lambda drawn: drawn.sum(), lambda drawn: drawn[:, None]):
        with pytest.raises(OptionError):
            as_figure(Drawn(half, told))
    with pytest.raises(ModelError):
        as_figure(Drawn(half, lambda drawn: drawn.nothing))  # type: ignore[attr-defined]
