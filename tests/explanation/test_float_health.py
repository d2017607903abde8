"""What is said before any word on bits: float itself, the labels, the images, and the forward."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.comparison.compare import compare
from qdiag.demo.load import load_demo
from qdiag.explanation.verdict import Verdict, judge
from tests.models import settle


def verdict(model: nn.Module, data: Any) -> Verdict:
    return judge(compare(model, data, (8,)))


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    demo = load_demo("healthy")
    return demo.model, [(x[:32], y[:32]) for x, y in demo.loader]


LABELS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "from 1": (lambda y: y + 1, "do they count from 1"),
    "of 1000": (lambda y: y + 500, "do they name other classes"),
    "one on": (lambda y: (y + 1) % 10, "one above"),
    "one back": (lambda y: (y - 1) % 10, "one below"),
    "turned round": (lambda y: 9 - y, "in another order"),
    "of other images": (
        lambda y: y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))],
        "Other labels",
    ),
}


@pytest.mark.parametrize("change", LABELS)
def test_labels_that_contradict_the_outputs(change: str, digits: tuple[nn.Module, Any]) -> None:
    relabel, words = LABELS[change]
    found = verdict(digits[0], [(x, relabel(y)) for x, y in digits[1]])
    assert found.kind == "float-is-wrong"
    assert words in found.text


def test_a_float_model_that_is_mostly_wrong_is_asked_about(digits: tuple[nn.Module, Any]) -> None:
    def mostly_wrong(y: Tensor) -> Tensor:
        return torch.where(torch.arange(len(y)) % 5 < 2, y, (y + torch.arange(len(y)) % 9 + 1) % 10)

    asked = "is that what it reached in training?"
    assert asked in verdict(digits[0], [(x, mostly_wrong(y)) for x, y in digits[1]]).text
    assert asked not in verdict(*digits).text


IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "black": torch.zeros_like,
    "negated": torch.neg,
    "0 to 255": lambda x: (x + 0.8112) / 2.66 * 255,
    "noise": lambda x: torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("change", IMAGES)
def test_images_that_float_cannot_read(change: str, digits: tuple[nn.Module, Any]) -> None:
    found = verdict(digits[0], [(IMAGES[change](x), y) for x, y in digits[1]])
    assert found.kind == "float-is-wrong"
    assert "Float itself" in found.headline


def test_images_far_from_batchnorm_s_statistics_are_told_without_labels(digits: tuple[nn.Module, Any]) -> None:
    images = torch.cat([x for x, _ in digits[1]])
    assert verdict(digits[0], images * 255).kind == "float-is-wrong"
    assert verdict(digits[0], images).kind in ("healthy", "small-loss")


def test_few_images_cannot_show_many_classes() -> None:
    images, labels = torch.eye(400)[:32], torch.arange(32)
    decides = nn.Linear(400, 400).eval()
    nn.init.eye_(decides.weight)
    found = verdict(decides, [(images, labels + 1)])
    assert found.kind == "float-is-wrong"
    assert "one above" in found.text
    assert "whatever the image" not in found.text  # 32 classes of 400, for 32 images


def test_digits_of_one_class_alone_are_no_reason_for_doubt(digits: tuple[nn.Module, Any]) -> None:
    images, labels = (torch.cat(parts) for parts in zip(*digits[1], strict=True))
    alone = [(images[labels == 3], labels[labels == 3])]
    assert verdict(digits[0], alone).kind != "float-is-wrong"


class Noisy(nn.Module):
    def __init__(self, draw: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.draw = nn.Conv2d(3, 12, 3), nn.Linear(12, 5), draw

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.draw(self.conv(x).relu().mean((2, 3))))


DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "noise": lambda x: x + torch.randn_like(x),
    "noise of its own": lambda x: x + torch.randn(x.shape),
    "dropout that never ends": lambda x: F.dropout(x, 0.3, training=True),
    "a choice": lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_forward_that_draws_random_numbers(name: str) -> None:
    assert verdict(Noisy(DRAWS[name]).eval(), torch.rand(32, 3, 8, 8)).kind == "not-repeatable"


def test_a_batchnorm_that_always_normalizes_by_the_batch() -> None:
    def by_batch(x: Tensor) -> Tensor:
        return F.batch_norm(x, None, None, training=True)

    found = verdict(Noisy(by_batch).eval(), torch.rand(32, 3, 8, 8))
    assert found.kind == "not-repeatable"
    assert "among other images" in found.headline


def test_a_forward_that_counts_its_calls() -> None:
    class Counting(Noisy):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.calls += 1
            return super().forward(x) * (1 + Counting.calls % 3)

    assert verdict(Counting(lambda x: x).eval(), torch.rand(32, 3, 8, 8)).kind == "not-repeatable"


def test_a_model_in_training_mode_is_measured_in_eval_mode_and_that_is_said() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
    settle(net, torch.randn(8, 3, 6, 6))
    images = torch.randn(32, 3, 6, 6)
    quiet, told = verdict(net.eval(), images), verdict(net.train(), images)
    assert quiet.kind == told.kind
    assert "training mode" not in quiet.text
    assert "The model came in training mode" in told.text


def test_few_images_decide_nothing(digits: tuple[nn.Module, Any]) -> None:
    images, labels = (torch.cat(parts) for parts in zip(*digits[1], strict=True))
    found = verdict(digits[0], [(images[:20], labels[:20])])
    assert found.kind == "undecided"
    assert "20 images do not decide" in found.headline
    assert "images like these would tell" in found.text
