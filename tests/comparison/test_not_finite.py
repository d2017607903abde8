"""Outputs of the float model that hold NaN or infinity are named, with where these come about."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.errors import QdiagWarning
from qdiag.explanation.verdict import judge
from qdiag.report.to_text import render_text

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A head behind two convolutions."""

    def __init__(self, head: Callable[[Tensor], Any]):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 1), head

    def forward(self, x: Tensor) -> Any:
        return self.head(self.last(self.first(x).relu()))


HEADS: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    "the only output": (lambda y: y.relu().log(), "the output", ":log"),
    "one of two": (lambda y: {"scores": y, "logs": 2 * y.relu().log()}, "output '.logs'", ":log"),
    "behind a mask that is taken away": (
        lambda y: y.masked_fill(y < y.amax(1, keepdim=True), -torch.inf).softmax(1).log(),
        "the output",
        ":log",
    ),
}


@pytest.mark.filterwarnings("ignore::qdiag.errors.QdiagWarning")
@pytest.mark.parametrize(("head", "output", "site"), HEADS.values(), ids=HEADS.keys())
def test_the_output_and_the_site_are_named(head: Callable[[Tensor], Any], output: str, site: str) -> None:
    found = compare(Net(head).eval(), IMAGES)
    (one,) = found.not_finite
    assert str(one).startswith(output)
    assert str(one.site) == site
    assert one.values > 0
    verdict = judge(found)
    assert verdict.kind == "float-is-wrong"
    assert f"site {site!r}" in verdict.text
    assert f"site {site!r}" in render_text(found.report(), 200)


def test_it_is_warned_of_once_and_counted_over_all_images() -> None:
    model = Net(lambda y: y.relu().log()).eval()
    with torch.no_grad():
        expected = int((~model(IMAGES).isfinite()).sum())
    with pytest.warns(QdiagWarning, match=f"holds {expected:,} values that are NaN or infinity") as told:
        compare(model, list(IMAGES.split(3)))
    assert len(told) == 1


def test_finite_outputs_are_not_spoken_of() -> None:
    assert not compare(Net(lambda y: y).eval(), IMAGES).not_finite
