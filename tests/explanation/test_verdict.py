"""What counts as healthy, a small loss, and quantization."""

import math
from dataclasses import replace

import pytest

from qdiag.comparison.output_error import OutputError
from qdiag.explanation.loss import Loss, describe, loss

FINE = OutputError(
    sqnr_db=40.0,
    relative_error=0.01,
    decisions=0,
    agreement_percent=None,
    top1_percent=None,
    drop_points=None,
    drop_interval=None,
)
CLASSES = replace(FINE, agreement_percent=100.0, task="classification")


@pytest.mark.parametrize(
    ("drop", "interval", "expected"),
    [
        (0.0, (0.0, 0.0), Loss.NONE),
        (-0.4, (-1.2, 0.4), Loss.NONE),
        (0.4, (0.1, 0.7), Loss.SMALL),  # small, but certain
        (3.0, (-0.2, 6.2), Loss.UNDECIDED),  # large, but it may be chance
        (0.0, (-9.0, 9.0), Loss.UNDECIDED),  # nothing was lost, and much may be
        (3.0, (1.0, 5.0), Loss.LARGE),
    ],
)
def test_accuracy_decides_where_there_are_labels(drop: float, interval: tuple[float, float], expected: Loss) -> None:
    assert loss(replace(CLASSES, drop_points=drop, drop_interval=interval)) is expected


def test_other_decisions_are_a_loss_though_as_many_are_right() -> None:
    same = replace(CLASSES, drop_points=0.0, drop_interval=(-0.5, 0.5))
    assert loss(replace(same, agreement_percent=64.0)) is Loss.LARGE
    assert loss(replace(same, agreement_percent=64.0, agreement_interval=(30.0, 95.0))) is Loss.SMALL  # may be chance
    assert loss(replace(same, agreement_percent=94.0)) is Loss.SMALL
    assert loss(replace(same, sqnr_db=9.4)) is Loss.SMALL


@pytest.mark.parametrize(("agreement", "expected"), [(99.0, Loss.NONE), (97.0, Loss.SMALL), (90.0, Loss.LARGE)])
def test_decisions_decide_where_there_are_no_labels(agreement: float, expected: Loss) -> None:
    assert loss(replace(CLASSES, agreement_percent=agreement)) is expected


def test_equal_decisions_on_a_noisy_output_are_not_called_healthy() -> None:
    assert loss(replace(CLASSES, sqnr_db=3.0)) is Loss.SMALL


@pytest.mark.parametrize(("sqnr", "expected"), [(math.inf, Loss.NONE), (20.0, Loss.SMALL), (5.0, Loss.LARGE)])
def test_decibels_decide_where_there_are_no_decisions(sqnr: float, expected: Loss) -> None:
    assert loss(replace(FINE, sqnr_db=sqnr)) is expected


def test_a_gain_is_told_as_a_gain_with_its_interval_turned_round() -> None:
    gain = replace(FINE, drop_points=-0.4, drop_interval=(-1.2, 0.4))
    assert describe(gain) == "gains 0.4 points of top-1 (95 % interval -0.4 to 1.2)"


def test_noise_is_told_where_it_is_all_that_was_lost() -> None:
    same = replace(CLASSES, drop_points=0.0, drop_interval=(-1.0, 1.0), agreement_interval=(99.0, 100.0))
    assert "dB" not in describe(same)
    noisy = replace(same, sqnr_db=12.0)
    assert loss(noisy) is Loss.SMALL
    assert describe(noisy).startswith("has its output at 12.0 dB SQNR, and loses nothing")
    assert "dB" not in describe(replace(noisy, drop_points=30.0, drop_interval=(20.0, 40.0)))
    assert "12.0 dB" in describe(replace(noisy, drop_points=None, drop_interval=None))
