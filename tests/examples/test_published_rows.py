"""The recipes of the published rows run end to end: the real loading code, on small folders and with random weights."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "camvid", raising=False)
    return runpy.run_path(str(EXAMPLES / "published_rows.py"))


def save_noise(path: Path, *shape: int, values: int = 256) -> None:
    Image.fromarray(torch.randint(0, values, shape, dtype=torch.uint8).numpy()).save(path)


def test_a_classifier_on_an_imagenet_folder(
    rows: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, synset in ((part, synset) for part in ("train", "val") for synset in ("n01440764", "n01443537")):
        folder = tmp_path / part / synset
        folder.mkdir(parents=True)
        for number in range(2):
            save_noise(folder / f"{synset}_{number}.JPEG", 40, 50, 3)
    weights = tmp_path / "weights.pt"
    torch.save(torchvision.models.mobilenet_v2(weights=None).state_dict(), weights)
    options = ["--data", str(tmp_path), "--weights", str(weights), "--methods", "simple", "--images", "3"]
    rows["main"](["mobilenet_v2", *options])
    shown = capsys.readouterr().out
    assert "top-1 in %, 3 images" in shown
    assert "| simple | 67.77 (4.12) | " in shown


def test_a_segmenter_on_cityscapes(rows: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "val"):
        for kind in ("leftImg8bit", "gtFine"):
            (tmp_path / kind / part / "ulm").mkdir(parents=True)
        save_noise(tmp_path / "leftImg8bit" / part / "ulm" / "ulm_0_1_leftImg8bit.png", 64, 128, 3)
        for kind in ("labelIds", "instanceIds", "color"):
            save_noise(tmp_path / "gtFine" / part / "ulm" / f"ulm_0_1_gtFine_{kind}.png", 64, 128, values=34)
    weights = tmp_path / "weights.pt"
    torch.save(rows["camvid"].DeepLab(19, width=1.0).state_dict(), weights)
    rows["main"](["deeplabv3plus", "--data", str(tmp_path), "--weights", str(weights), "--methods", "simple"])
    assert "mean IoU in %, 1 images" in capsys.readouterr().out


def test_label_ids_become_training_ids(rows: dict[str, Any]) -> None:
    """Of the data set's own table: 7 road, 26 car, 33 bicycle; 0 to 6 and 29 are not evaluated."""
    ids: torch.Tensor = rows["TRAIN_IDS"]
    assert ids[[7, 26, 33]].tolist() == [0, 13, 18]
    assert set(ids[[0, 6, 29]].tolist()) == {255}
    assert len(ids) == 34


def test_what_is_not_there_is_said(rows: dict[str, Any], tmp_path: Path) -> None:
    main: Callable[..., None] = rows["main"]
    with pytest.raises(SystemExit, match="give --weights"):
        main(["deeplabv3plus", "--data", str(tmp_path)])
