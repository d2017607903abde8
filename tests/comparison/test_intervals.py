"""Intervals of paired proportions: against brute force, for few images, and for pixels that are not independent."""

import itertools
import math

import pytest
import torch

from qdiag.comparison.intervals import Pairs, images_to_narrow, mean_interval, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (7, 20), (930, 1000)])
def test_wilson_s_ends_are_where_the_score_test_turns(right: int, n: int) -> None:
    low, high = wilson(right, n)
    for end in {low, high} - {0.0, 1.0}:
        score = abs(right / n - end) / math.sqrt(end * (1 - end) / n)
        assert score == pytest.approx(1.96, abs=1e-3)


def test_newcombe_s_tenth_method_step_by_step() -> None:
    pairs = Pairs(36, 12, 2, 0)
    reference, lane = 48 / 50, 38 / 50
    (low1, high1), (low2, high2) = wilson(48, 50), wilson(38, 50)
    phi = (36 * 0 - 12 * 2) / math.sqrt(48 * 2 * 38 * 12)
    below, above = (reference - low1, high2 - lane), (high1 - reference, lane - low2)
    expected = [
        pairs.drop + sign * math.sqrt(a * a - 2 * phi * a * b + b * b) for sign, (a, b) in ((-1, below), (1, above))
    ]
    assert pairs.drop == pytest.approx(0.2)
    assert pairs.interval() == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 8, 32, 500])
def test_without_a_flip_what_one_may_have_missed_stays_open(n: int) -> None:
    low, high = Pairs(n, 0, 0, 0).interval()
    assert (1 - high) ** n == pytest.approx(0.025)  # so rare a flip is missed in all n with this probability
    assert low == -high


@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.01), (0.1, 0.02), (0.0, 0.05)])
@pytest.mark.parametrize("n", [20, 60])
def test_the_interval_holds_the_true_drop_in_95_of_100_samples(lost: float, won: float, n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    chances = torch.tensor([0.7, lost, won, 0.3 - lost - won])
    drawn = torch.multinomial(chances, 2000 * n, replacement=True, generator=generator).reshape(2000, n)
    counts = torch.stack([(drawn == cell).sum(1) for cell in range(4)], 1).tolist()
    held = sum(low <= lost - won <= high for low, high in (Pairs(*cells).interval() for cells in counts))
    assert held / 2000 > 0.93


def test_one_image_of_four_gone_wrong_leaves_open_whether_any_will() -> None:
    pixels = torch.tensor([4096.0] * 4)
    low, high = mean_interval(torch.tensor([0.0, 0.0, 0.0, 3000.0]), pixels, (3.27, 0.73, 0.0, 0.0))
    drop = 3000 / (4 * 4096)
    assert low < 0 < drop < high
    assert high - low > 2 * drop


def test_many_images_that_all_lose_a_little_are_told_narrowly_and_truly() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.full((100,), 1000.0)
    held = 0
    for _ in range(60):
        differences = (torch.rand(100, generator=generator) * 40).round()  # 2 % on average
        low, high = mean_interval(differences, weights, (95.0, 3.0, 1.0, 1.0))
        assert high - low < 0.01
        held += low <= 0.02 <= high
    assert held >= 52


def test_the_number_of_images_that_would_do_is_the_number_that_does() -> None:
    for pairs in (Pairs(32, 0, 0, 0), Pairs(28, 1, 0, 3)):
        needed = images_to_narrow(pairs, 0.02)
        for n, is_enough in ((0.95 * needed, False), (1.05 * needed, True)):
            grown = pairs.times(n / pairs.n)
            assert (grown.interval()[1] - grown.drop <= 0.02) is is_enough


def test_intervals_are_finite_in_every_corner() -> None:
    for cells in itertools.product((0, 1, 3), repeat=4):
        if sum(cells):
            low, high = Pairs(*cells).interval()
            assert -1 - 1e-9 <= low <= Pairs(*cells).drop <= high <= 1 + 1e-9
