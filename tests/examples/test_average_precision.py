"""The mean average precision that examples/hard_networks.py prints, held against numbers worked by hand."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import Tensor

SCRIPT = Path(__file__).parents[2] / "examples" / "average_precision.py"
THERE = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
FALSE = torch.tensor([[50.0, 50, 60, 60]])


def score(boxes: Tensor, scores: list[float]) -> float:
    found = {"boxes": boxes, "scores": torch.tensor(scores), "labels": torch.ones(len(boxes), dtype=torch.long)}
    percent: float = runpy.run_path(str(SCRIPT))["mean_average_precision"](
        [found], [THERE], [torch.ones(2, dtype=torch.long)]
    )
    return percent


def test_one_of_two_boxes_is_half_of_the_recalls() -> None:
    assert score(torch.cat([THERE[:1], FALSE]), [0.9, 0.5]) == pytest.approx(100 * 51 / 101)  # recalls 0 to 0.5


def test_a_false_box_that_is_surer_halves_the_precision() -> None:
    assert score(torch.cat([FALSE, THERE[:1]]), [0.9, 0.5]) == pytest.approx(100 * 51 / 101 / 2)


def test_a_box_found_twice_counts_once() -> None:
    assert score(THERE[[0, 0]], [0.9, 0.5]) == pytest.approx(100 * 51 / 101)


def test_a_box_counts_at_the_overlaps_that_it_reaches() -> None:
    shifted = torch.cat([THERE[:1] + torch.tensor([0.0, 0, 2, 0]), THERE[1:]])  # 100 of 120: six or seven of ten
    assert score(shifted, [0.9, 0.8]) == pytest.approx(100 * (7 + 3 * 51 / 101 / 2) / 10)
