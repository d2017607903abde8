"""The segmentation example's own arithmetic, against torchmetrics."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index


@pytest.fixture
def camvid(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    return importlib.import_module("camvid")


@pytest.mark.parametrize("classes", [11, 8])
def test_the_mean_of_intersection_over_union_is_over_classes_that_occur(classes: int, camvid: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 11, 6, 8, generator=generator)
    scores[:, classes:] = -10
    labels = torch.randint(0, classes, (4, 6, 8), generator=generator)
    labels[:, 0] = camvid.IGNORED
    expected = 100 * multiclass_jaccard_index(scores.argmax(1), labels, num_classes=11, ignore_index=camvid.IGNORED)
    found = camvid.mean_iou_percent(camvid.confusion(scores, labels))
    assert float(found) == pytest.approx(float(expected))


def test_a_drop_is_paired_and_lies_within_its_interval(camvid: Any) -> None:
    counts = torch.randint(0, 50, (30, 11, 11), generator=torch.Generator().manual_seed(0))
    assert camvid.iou_drop(counts, counts) == (0.0, 0.0, 0.0)
    worse = counts.clone()
    worse[:, 0, 1] += 100
    drop, low, high = camvid.iou_drop(counts, worse)
    assert 0 < low < drop < high
