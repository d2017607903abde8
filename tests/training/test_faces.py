"""What a training run shows: in a terminal, on a page, as JSON and as a table."""

import dataclasses

from qdiag.report.to_html import render_fragment
from qdiag.report.to_text import render_text
from qdiag.training.epoch import Epoch
from qdiag.training.recipe import Recipe
from qdiag.training.training_result import TrainingResult
from tests.report.golden import assert_golden
from tests.report.test_to_html import stripped

RESULT = TrainingResult(
    model_name="Net",
    recipe=Recipe(epochs=2).facts(),
    images=1280,
    history=(
        Epoch(1, 7.5e-5, 0.6931, 61.25, {"top1_percent": 88.4, "top5_percent": 99.0}),
        Epoch(2, 1.2e-8, 0.0412, 98.5, {"top1_percent": 97.8, "top5_percent": 100.0}),
    ),
    before={
        "float": {"top1_percent": 99.4, "top5_percent": 100.0},
        "8-bit": {"top1_percent": 85.2, "top5_percent": 99.6},
    },
    after={
        "float": {"top1_percent": 98.0, "top5_percent": 100.0},
        "8-bit": {"top1_percent": 97.8, "top5_percent": 100.0},
    },
    kept_epoch=2,
)


def test_every_face() -> None:
    assert_golden("training.txt", render_text(RESULT.report(), 100, everything=True))
    assert_golden("training.html", stripped(render_fragment(RESULT.report())))
    assert_golden("training.json", RESULT.to_json())


def test_tables_have_a_row_for_each_version_and_each_epoch() -> None:
    versions, epochs = RESULT.to_pandas(), RESULT.to_pandas("epochs")
    assert list(versions["version"]) == ["float", "8-bit"]
    assert list(versions["before_top1_percent"]) == [99.4, 85.2]
    assert list(versions["after_top1_percent"]) == [98.0, 97.8]
    assert list(epochs["epoch"]) == [1, 2]
    assert list(epochs["train_right_percent"]) == [61.25, 98.5]
    assert list(epochs["top1_percent"]) == [88.4, 97.8]


def test_without_validation_data_it_says_so() -> None:
    plain = [dataclasses.replace(epoch, right_percent=None, validation={}) for epoch in RESULT.history]
    shown = dataclasses.replace(RESULT, before={}, after={}, history=tuple(plain))
    text = render_text(shown.report(), 100, everything=True)
    assert "No validation data: nothing measured." in text
    assert "Accuracy" not in text
    assert list(shown.to_pandas()["loss"]) == [0.6931, 0.0412]
