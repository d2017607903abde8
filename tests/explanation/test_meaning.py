"""What outputs mean decides the verdict, on networks whose fault is known."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.demo.load import load_demo
from qdiag.explanation.loss import describe
from qdiag.explanation.verdict import VerdictKind, judge
from qdiag.pipeline import diagnose
from tests.models import calibrate

FINE = ("healthy", "small-loss")


def kind(model: nn.Module, data: Any, **options: Any) -> VerdictKind:
    return judge(compare(model.eval(), data, **options)).kind


class Heads(nn.Module):
    """A trunk with two heads, of values `apart` times as large."""

    def __init__(self, apart: float, join: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.trunk, self.join, self.apart = nn.Conv2d(3, 8, 3, padding=1), join, apart
        self.large, self.small = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 6, 1)

    def forward(self, x: Tensor) -> Any:
        x = self.trunk(x).relu()
        return self.join(self.large(x).tanh() * self.apart, self.small(x).sigmoid())


JOINS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "channels": lambda a, b: torch.cat([a, b], 1),
    "channels of a list of boxes": lambda a, b: torch.cat([a, b], 1).flatten(2),
    "channels last": lambda a, b: torch.cat([a, b], 1).flatten(2).transpose(1, 2),
    "one for each image": lambda a, b: torch.cat([a.mean((2, 3)), b.mean((2, 3))], 1),
}


@pytest.mark.parametrize("name", JOINS)
def test_small_channels_that_are_lost_beside_large_ones_are_a_loss(name: str) -> None:
    images = torch.rand(24, 3, 8, 8) * torch.rand(24, 1, 1, 1) * 4
    assert kind(Heads(1000.0, JOINS[name]), images) not in FINE
    assert kind(Heads(1.0, JOINS[name]), images) in FINE  # the same network with heads of like size


def test_of_many_outputs_the_worst_decides_wherever_it_stands() -> None:
    def lost(a: Tensor, b: Tensor) -> dict[str, Any]:
        quiet = torch.cat([a, b], 1)[:, 4:]  # what the shared format leaves of the scores
        return {"good": a, "more": [{"quiet": quiet}], "stride": 8}

    verdict = judge(compare(Heads(1000.0, lost).eval(), torch.rand(24, 3, 8, 8)))
    assert verdict.kind not in FINE
    assert "more[0].quiet" in verdict.headline


def test_a_value_far_from_zero_that_hardly_varies_is_judged_by_its_size() -> None:
    class Depth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 6)
            with torch.no_grad():
                self.head.weight.mul_(0.01)
                self.head.bias.fill_(12.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.conv(x).relu().mean((2, 3)))

    assert kind(Depth(), torch.rand(64, 3, 8, 8)) == "healthy"


def test_a_channel_that_never_varies_is_left_out() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 4, 3)
            with torch.no_grad():
                self.conv.weight[2] = 0
                self.conv.bias[2] = 1e-4  # type: ignore[index]

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    assert kind(Constant(), torch.rand(16, 3, 8, 8)) == "healthy"


class Ends(nn.Module):
    """A network that 8 bits ruin, and what is done with its result."""

    def __init__(self, end: Callable[[Tensor], Any], apart: float = 2.0**9) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 12, 3, groups=12), nn.Conv2d(12, 6, 1)
        scale = torch.logspace(0, 1, 12) ** torch.tensor(apart).log10()
        with torch.no_grad():
            for conv, factor in ((self.first, scale), (self.second, scale.flip(0))):
                conv.weight.mul_(factor.reshape(-1, 1, 1, 1))
                conv.bias.zero_()  # type: ignore[union-attr]
            self.head.weight.div_(apart)
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(self.head(self.second(self.first(x).relu()).relu()).mean((2, 3)))


class Boxes:
    def __init__(self, scores: Tensor) -> None:
        self.scores = scores


def lazily(scores: Tensor) -> Iterator[Tensor]:
    yield from scores


ENDS: dict[str, Callable[[Tensor], Any]] = {
    "the best": lambda y: y.argmax(1),
    "the best, as bytes": lambda y: y.argmax(1).to(torch.uint8).unsqueeze(1),
    "top 2": lambda y: y.topk(2).indices,
    "order": lambda y: y.argsort(1),
    "masks": lambda y: y > y.mean(1, keepdim=True),
    "rounded": lambda y: (y * 100).int(),
    "array": lambda y: y.numpy(),
    "array in a dict": lambda y: {"scores": y.numpy()},
    "tensor that was an array": lambda y: torch.from_numpy(y.numpy() * 2),
    "numbers": lambda y: y.mean(1).tolist(),
    "objects": lambda y: [Boxes(row) for row in y],
    "generator": lazily,
}


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(48, 3, 10, 10, generator=generator) * torch.rand(48, 1, 1, 1, generator=generator)


def test_the_network_of_these_tests_is_ruined_in_8_bit(images: Tensor) -> None:
    model = Ends(lambda y: y).eval()
    with torch.no_grad():
        reference = model(images)
    noise = (calibrate(model, images)(images) - reference).square().mean(0)
    assert float((noise / reference.var(0)).max()) > 0.1


@pytest.mark.filterwarnings("ignore:Consider using tensor.detach")
@pytest.mark.parametrize("name", ENDS)
def test_what_is_not_seen_is_not_equal(name: str, images: Tensor) -> None:
    assert kind(Ends(ENDS[name]), images) not in FINE


@pytest.mark.parametrize("name", ["objects", "array in a dict", "generator"])
def test_where_nothing_can_be_seen_the_verdict_says_so_and_what_to_do(name: str, images: Tensor) -> None:
    diagnosis = diagnose(Ends(ENDS[name]).eval(), images)
    assert diagnosis.verdict.kind == "cannot-judge"
    assert "evaluate=" in diagnosis.steps[0].code


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda y: None, "gives no tensor"),
        (lambda y: {}, "gives no tensor"),
        (lambda y: y[:, 0] * 0 + 3, "or the same for all"),
        (lambda y: torch.complex(y[:, :3], y[:, 3:]), "complex"),
        (lambda y: y.to_sparse(), "sparse"),
    ],
)
def test_what_cannot_be_compared_is_told_as_what_it_is(end: Callable[[Tensor], Any], told: str, images: Tensor) -> None:
    verdict = judge(compare(Ends(end).eval(), images))
    assert verdict.kind == "cannot-judge"
    assert told in verdict.headline


def test_what_decisions_were_made_from_is_told_where_it_is_what_was_lost(images: Tensor) -> None:
    output = compare(Ends(ENDS["the best"], apart=1.0).eval(), images * 4).outputs["8-bit"]
    decided, before = output.tensors
    lost = replace(before, worst_sqnr_db=20.0)
    assert "20.0 dB" in describe(replace(output, tensors=(replace(decided, agreement_percent=100.0, kappa=1.0), lost)))
    other = replace(decided, agreement_percent=0.0, kappa=0.0)
    assert "0.0 % of the values" in describe(replace(output, tensors=(other, decided, lost)))


@pytest.mark.parametrize("name", ["the best", "masks", "order"])
def test_decisions_of_a_network_that_loses_nothing_are_fine(name: str, images: Tensor) -> None:
    assert kind(Ends(ENDS[name], apart=1.0), images * 4) in (*FINE, "undecided")


def test_the_user_s_own_figure_decides_whatever_the_outputs_are(images: Tensor) -> None:
    model = Ends(ENDS["objects"]).eval()

    def scores(version: nn.Module) -> Tensor:
        with torch.no_grad():
            return torch.stack([boxes.scores for boxes in version(images)])

    reference = scores(model)
    spread = float(reference.std())

    def evaluate(version: nn.Module) -> float:
        return float(((scores(version) - reference).abs() < 0.1 * spread).float().mean())

    strict = diagnose(model, images, evaluate=evaluate)
    assert strict.verdict.kind == "quantization"
    assert "your own figure" in strict.verdict.headline
    assert diagnose(model, images, evaluate=lambda version: 91.3 + 0 * len(version(images))).verdict.kind == "healthy"


def test_a_figure_that_does_not_move_where_the_outputs_do_is_asked_about() -> None:
    demo = load_demo("wild")
    few = next(iter(demo.loader))[0][:2]
    verdict = diagnose(demo.model, demo.loader, evaluate=lambda version: 91.3 + 0 * len(version(few))).verdict
    assert verdict.kind == "healthy"
    assert "in your own figure" in verdict.headline
    assert "Does that figure follow" in verdict.text
