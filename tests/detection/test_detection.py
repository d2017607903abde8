"""Images in a letterbox with their boxes, and boxes from a head."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision as Metric

from qdiag.detection.average_precision import average_precision
from qdiag.detection.box_folder import BoxFolder, MeanAveragePrecision
from qdiag.detection.box_labels import box_labels
from qdiag.detection.decode import decode_yolox
from qdiag.detection.letterbox import LETTERBOXES, Letterbox
from qdiag.errors import InputError, OptionError


@pytest.fixture
def folder(tmp_path: Path) -> BoxFolder:
    """An image of 64 x 32 with one box over its right half."""
    Image.new("RGB", (64, 32), (255, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("3 0.75 0.5 0.5 1.0\n")
    return BoxFolder([tmp_path / "a.png"], Letterbox(32, "bgr", 255.0, is_centred=False), box_labels(tmp_path))


def test_an_image_keeps_its_proportions_and_its_boxes_go_with_it(folder: BoxFolder) -> None:
    image, target = folder[0]
    assert image.shape == (3, 32, 32)
    assert image[:, 0, 0].tolist() == [0, 0, 255]  # blue, green, red
    assert image[:, 16:].unique().tolist() == [114]
    assert target["boxes"].tolist() == [[16, 0, 32, 16]]
    assert target["labels"].tolist() == [3]


def test_cocos_json_gives_the_same_boxes(folder: BoxFolder, tmp_path: Path) -> None:
    content = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": id} for id in (90, 1, 2, 5)],
        "annotations": [{"image_id": 7, "category_id": 90, "bbox": [32, 0, 32, 32]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    boxes, classes = box_labels(tmp_path / "coco.json")(tmp_path / "a.png", (64, 32))
    assert (boxes.tolist(), classes.tolist()) == ([[32, 0, 64, 32]], [3])


def test_labels_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one box\n")
    (tmp_path / "b.json").write_text("[]")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"no \.txt file"):
        box_labels(tmp_path / "none")
    with pytest.raises(InputError, match="Each line is"):
        box_labels(tmp_path)(tmp_path / "a.png", (8, 8))
    with pytest.raises(InputError, match="it has no annotations"):
        box_labels(tmp_path / "b.json")


def head(x: float, y: float) -> Tensor:
    """YOLOX's for 32 x 32 with one sure anchor: in the grid of stride 8 at (2, 1), 16 wide and high."""
    output = torch.zeros(1, 21, 5 + 4)
    output[0, 1 * 4 + 2] = torch.tensor([x, y, 2.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.9])
    output[0, 6, 2:4] = torch.log(torch.tensor(2.0))
    return output


def test_a_head_of_yolox_is_decoded() -> None:
    (found,) = decode_yolox(head(1.0, 0.0), 32)
    assert found["boxes"].tolist() == [[16, 0, 32, 16]]
    assert found["scores"].tolist() == pytest.approx([0.9])
    assert found["labels"].tolist() == [3]
    with pytest.raises(InputError, match=r"that is \[N, 21, 5 \+ classes\]"):
        decode_yolox(torch.zeros(1, 20, 9), 32)


def test_mean_average_precision_of_a_detector_that_is_right_and_of_one_beside(folder: BoxFolder) -> None:
    if importlib.util.find_spec("pycocotools") is None:
        with pytest.raises(OptionError, match=r"qdiag\[detection\]"):
            MeanAveragePrecision(folder, decode_yolox)
        reason = "pycocotools is not installed"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    precision = MeanAveragePrecision(folder, decode_yolox)
    assert float(precision(lambda images: head(1.0, 0.0))) == pytest.approx(100)
    # Half of a box beside it: 8 of 24, an overlap of a third.
    assert float(precision(lambda images: head(0.0, 0.0))) == pytest.approx(0)


def some_detections(images: int) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """What is found and what is there: boxes near objects, boxes anywhere, many of one score."""
    generator, truth, found = torch.Generator().manual_seed(images), [], []
    for _ in range(images):
        corner, extent = (torch.rand(6, 2, generator=generator) * scale for scale in (300, 100))
        boxes, labels = torch.cat([corner, corner + extent + 40], 1), torch.randint(5, (6,), generator=generator)
        near = boxes.repeat(3, 1) + 8 * torch.randn(18, 4, generator=generator)
        scores = (20 * torch.rand(18, generator=generator)).round() / 20
        kinds = torch.where(torch.rand(18, generator=generator) < 0.8, labels.repeat(3), 7)
        truth.append({"boxes": boxes, "labels": labels})
        found.append({"boxes": near, "scores": scores, "labels": kinds})
    return found, truth


@pytest.mark.parametrize("images", [1, 12])
def test_average_precision_is_cocos_of_the_images_and_of_any_draw_of_them(images: int) -> None:
    pytest.importorskip("pycocotools")
    found, truth = some_detections(images)
    by_image = average_precision(found, truth)
    assert float(by_image) == pytest.approx(of_torchmetrics(found, truth), abs=0.05)  # which rounds recalls to float32
    drawn = [0, images - 1, 0]
    counts = torch.bincount(torch.tensor(drawn), minlength=images).double()
    again = average_precision([found[i] for i in drawn], [truth[i] for i in drawn])
    # Boxes of one score come in another order where images do.
    assert float(by_image.on(counts.view(1, -1))) == pytest.approx(float(again), abs=0.5)


def of_torchmetrics(found: list[dict[str, Tensor]], truth: list[dict[str, Tensor]]) -> float:
    metric = Metric()
    metric.update(found, truth)
    return 100 * float(metric.compute()["map"])


def test_a_detector_that_finds_nothing_reaches_nothing() -> None:
    pytest.importorskip("pycocotools")
    _, truth = some_detections(3)
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.long)}
    assert float(average_precision([nothing] * 3, truth)) == 0


def test_a_letterbox_in_the_middle() -> None:
    assert LETTERBOXES["yolo"].place((1280, 640)) == (0.5, (0, 160), (640, 320))
    with pytest.raises(OptionError, match="'rgb' or 'bgr'"):
        Letterbox(32, "grey")
