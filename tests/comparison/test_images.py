"""Single images in float and in fixed point: flips, masks, boxes and values, each held against a count by hand."""

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from qdiag.comparison.images.boxes import BoxSums, ChangedBoxes
from qdiag.comparison.images.compare_images import class_names, compare_images_steps
from qdiag.comparison.images.flips import FlippedImages, FlipSums
from qdiag.comparison.images.masks import ChangedMasks, MaskSums
from qdiag.comparison.images.thumbnail import address, pixels
from qdiag.comparison.images.values import ChangedValues
from qdiag.comparison.read_targets import Read
from qdiag.demo.load import load_demo
from qdiag.errors import InputError
from qdiag.progress import Steps
from qdiag.quantization.calibrate import calibrate
from qdiag.subject import Subject
from qdiag.workbench.session import Session


def ended(steps: Steps[Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def picture(source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).convert("RGB"))


def logits(*answers: int, sure: float = 2.0) -> Tensor:
    return sure * torch.eye(3)[list(answers)]


# Classes --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def flips() -> FlippedImages:
    """Of six images: two lost, one won, one wrong both ways, and two that stay."""
    sums = FlipSums(most=2)
    labels = torch.tensor([0, 1, 2, 0, 1, -1])
    reference = logits(0, 1, 0, 1, 1, 2)
    reference[1] *= 4  # float is surest of this one
    sums.update(torch.rand(6, 3, 8, 8), Read(0, 3, labels), reference, logits(0, 2, 2, 2, 0, 2))
    return sums.result("Net", "8-bit", ("cat", "dog", "owl"))


def test_a_flip_is_lost_won_or_changed_and_the_surest_loss_is_first(flips: FlippedImages) -> None:
    assert [(flip.number, flip.kind) for flip in flips.flips] == [(1, "lost"), (4, "lost"), (3, "changed"), (2, "won")]
    assert [bool(flip.picture) for flip in flips.flips] == [True, True, False, False]
    assert flips.images == 6


def test_scores_are_of_each_own_answer(flips: FlippedImages) -> None:
    first = flips.flips[0]
    assert first.reference_score == pytest.approx(np.exp(8) / (np.exp(8) + 2))
    assert first.version_score == pytest.approx(np.exp(2) / (np.exp(2) + 2))


def test_loss_by_class_counts_labelled_images_alone(flips: FlippedImages) -> None:
    counts = {one.label: (one.images, one.reference_right, one.version_right) for one in flips.classes}
    assert counts == {0: (2, 1, 1), 1: (2, 2, 0), 2: (1, 0, 1)}
    assert flips.classes[0].label == 1  # what lost most


def test_flips_are_tables_with_names(flips: FlippedImages) -> None:
    table = flips.to_pandas()
    assert list(table["float_class"]) == ["dog", "dog", "dog", "cat"]
    assert list(table["version_class"]) == ["owl", "cat", "owl", "owl"]
    confusion = flips.to_pandas("confusion").set_index(["float_class", "version_class"])
    assert confusion.loc[("dog", "owl"), "images"] == 2
    assert confusion.loc[("dog", "owl"), "lost"] == 1
    assert "image 1: dog → owl" in repr(flips)
    assert flips.to_html().count("<img") == 2


def test_scores_of_shares_are_taken_as_they_are_and_decisions_have_none() -> None:
    shares, other = torch.tensor([[0.7, 0.3]]), torch.tensor([[0.4, 0.6]])
    (flip,) = folded(shares, other)
    assert (flip.reference_score, flip.version_score) == pytest.approx((0.7, 0.6))
    (decided,) = folded(torch.tensor([4]), torch.tensor([5]))
    assert decided.reference_score is None
    (two,) = folded(torch.tensor([[-1.0]]), torch.tensor([[2.0]]), threshold=0.0)
    assert two.version_score == pytest.approx(1 / (1 + np.exp(-2)))
    assert two.reference_score == pytest.approx(1 / (1 + np.exp(-1)))


def folded(reference: Tensor, version: Tensor, **read: Any) -> Any:
    sums = FlipSums(0)
    sums.update(None, Read(0, **read), reference, version)
    return sums.result("Net", "8-bit", ()).flips


def test_the_session_counts_what_two_forwards_count() -> None:
    demo = load_demo("wild")
    session = Session(demo.model, demo.loader, calibration_data=demo.calibration_loader, folder=None)
    session.calibrate("simple")
    found = session.compare_images(most=5)
    assert isinstance(found, FlippedImages)
    assert found is session.images
    assert session.current is not None
    version, wanted, number = session.current.quantized, {}, 0
    with torch.no_grad():
        for images, labels in demo.loader:
            for before, after, label in zip(
                demo.model(images).argmax(1).tolist(), version(images).argmax(1).tolist(), labels.tolist(), strict=True
            ):
                if before != after:
                    wanted[number] = (label, before, after)
                number += 1
    assert {flip.number: (flip.label, flip.reference, flip.version) for flip in found.flips} == wanted
    drop = session.current.output.drop_points
    assert drop == pytest.approx(100 * (found.count("lost") - found.count("won")) / found.images)
    report = session.to_html()
    assert "What happened to the images" in report
    assert report.count('<img src="data:image/png') == 5


# Masks ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def masks() -> ChangedMasks:
    """Two images of 4 x 4: one as float has it, one with a quarter of its pixels changed; a column without labels."""
    reference = torch.zeros(2, 2, 4, 4)
    reference[:, 1, :2] = 1.0  # the upper half is class 1
    version = reference.clone()
    version[1, 0, 1], version[1, 1, 1] = 2.0, 0.0  # in the second image one row of it is lost
    labels = torch.zeros(2, 4, 4, dtype=torch.long)
    labels[:, :2] = 1
    labels[:, :, 3] = 255
    sums = MaskSums(most=1)
    sums.update(torch.rand(2, 3, 4, 4), Read(0, 2, labels), reference, version)
    return sums.result("Net", "8-bit", ("road", "sky"))


def test_masks_are_compared_pixel_by_pixel(masks: ChangedMasks) -> None:
    worst, same = masks.changes
    assert (worst.number, worst.changed_percent) == (1, 25.0)
    # class 0: 8 of 12 pixels; class 1: 4 of 8
    assert worst.iou_percent == pytest.approx(100 * (8 / 12 + 4 / 8) / 2)
    assert (same.changed_percent, same.iou_percent) == (0.0, 100.0)
    assert (same.float_iou_percent, same.version_iou_percent) == (100.0, 100.0)
    # three columns count: class 0 has 6 of 9, class 1 has 3 of 6
    assert worst.version_iou_percent == pytest.approx(100 * (6 / 9 + 3 / 6) / 2)


def test_classes_are_summed_over_images_and_pixels_without_labels_left_out(masks: ChangedMasks) -> None:
    table = masks.to_pandas("classes").set_index("label")
    assert table.loc["sky", "iou_percent"] == pytest.approx(100 * 12 / 16)
    assert table.loc["sky", "version_iou_percent"] == pytest.approx(100 * 9 / 12)
    assert table.loc["sky", "float_iou_percent"] == 100.0
    assert list(table.index) == ["sky", "road"]  # what lost most first


def test_the_worst_image_is_shown_with_both_masks_and_their_difference(masks: ChangedMasks) -> None:
    assert [bool(change.picture) for change in masks.changes] == [True, False]
    drawn = picture(masks.changes[0].picture)
    assert drawn.shape == (4, 4 * 4 + 3 * 4, 3)
    assert (drawn[:, 8:12] != drawn[:, 16:20]).any()
    difference = drawn[:, 24:28]
    is_marked = (difference == (213, 94, 0)).all(2)
    assert is_marked[1].all()
    assert is_marked.sum() == 4


def test_a_segmenter_is_known_by_its_task() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1)).eval()
    images = torch.rand(8, 3, 8, 8)
    subject = Subject(model, images, task="segmentation")
    version = calibrate(model, images, "simple", bits=4)
    found = ended(compare_images_steps(subject, version, "4-bit", most=3))
    assert isinstance(found, ChangedMasks)
    with torch.no_grad():
        changed = (model(images).argmax(1) != version(images).argmax(1)).flatten(1).double().mean(1)
    assert {one.number: one.changed_percent for one in found.changes} == pytest.approx(
        dict(enumerate((100 * changed).tolist()))
    )
    assert all(one.float_iou_percent is None for one in found.changes)


# Boxes ----------------------------------------------------------------------------------------------------------------


def detections(*boxes: tuple[float, ...]) -> dict[str, Tensor]:
    rows = torch.tensor(boxes).reshape(-1, 6)
    return {"boxes": rows[:, :4], "scores": rows[:, 4], "labels": rows[:, 5].long()}


@pytest.fixture
def boxes() -> ChangedBoxes:
    before = detections((0, 0, 10, 10, 0.9, 1), (20, 20, 30, 30, 0.8, 1), (5, 5, 9, 9, 0.1, 1))
    # the first has moved by one pixel, the second is of another class, the third is unsure in both
    after = detections((1, 0, 11, 10, 0.7, 1), (20, 20, 30, 30, 0.8, 2), (5, 5, 9, 9, 0.2, 1))
    sums = BoxSums(4, lambda output: output)
    sums.update(torch.rand(2, 3, 40, 40), [before, before], [before, after])
    return sums.result("Net", "8-bit", ("none", "cat", "dog"))


def test_boxes_are_paired_by_class_and_overlap(boxes: ChangedBoxes) -> None:
    worst, same = boxes.changes
    assert (worst.number, worst.lost, worst.found) == (1, 1, 1)
    assert [box.is_shared for box in worst.reference] == [True, False]
    assert (same.lost, same.found, len(same.reference)) == (0, 0, 2)
    assert [bool(change.picture) for change in boxes.changes] == [True, False]


def test_one_box_is_paired_once() -> None:
    one, two = detections((0, 0, 10, 10, 0.9, 1)), detections((0, 0, 10, 10, 0.9, 1), (0, 0, 10, 9, 0.8, 1))
    sums = BoxSums(0, lambda output: output)
    sums.update(None, [two], [one])
    (change,) = sums.result("Net", "8-bit", ()).changes
    assert (change.lost, change.found) == (1, 0)


def test_boxes_by_class_say_what_was_lost(boxes: ChangedBoxes) -> None:
    table = boxes.to_pandas("classes").set_index("label")
    assert dict(table.loc["cat"]) == {"float_boxes": 4, "lost": 1, "found": 0}
    assert dict(table.loc["dog"]) == {"float_boxes": 0, "lost": 0, "found": 1}
    assert boxes.to_pandas()["lost"].tolist() == [1, 0]
    width = picture(boxes.changes[0].picture).shape[1]
    assert width == 40 + 4 + 40


class Detector(nn.Module):
    """One box in each image, as large as its mean says."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        size = self.conv(x).mean((1, 2, 3)).abs() + 1
        ones = torch.ones(1)
        return [{"boxes": ones * s * torch.tensor([[0, 0, 8, 8]]), "scores": ones, "labels": ones.long()} for s in size]


def test_a_detectors_boxes_are_known_by_their_names_or_made_by_a_function() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 8) + 1
    model = Detector().eval()
    subject = Subject(model, images, task="detection")
    found = ended(compare_images_steps(subject, model, "the same"))
    assert isinstance(found, ChangedBoxes)
    assert sum(change.lost for change in found.changes) == 0
    assert sum(len(change.reference) for change in found.changes) == 4
    none = ended(compare_images_steps(subject, model, "none", detect=lambda output: [detections() for _ in output]))
    assert sum(len(change.reference) for change in none.changes) == 0
    with pytest.raises(InputError) as raised:
        ended(compare_images_steps(subject, model, "wrong", detect=lambda output: [1, 2]))  # type: ignore[list-item]
    assert raised.value.code == "no-head"


# Values ---------------------------------------------------------------------------------------------------------------


def test_values_are_those_of_both_forwards_and_the_worst_channels_are_told() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 1).eval()
    with torch.no_grad():
        model.weight[2] *= 0.01
    images = torch.randn(32, 3, 6, 6)
    version = calibrate(model, images, "simple")
    found = ended(compare_images_steps(Subject(model, images), version, "8-bit"))
    assert isinstance(found, ChangedValues)
    (output,) = found.outputs
    assert output.channels[0].channels == (2,)
    with torch.no_grad():
        before, after = model(images), version(images)
    pairs = {(channel, x): y for channel in range(4) for x, y in zip(*own(before, after, channel), strict=True)}
    for x, y, channel in zip(output.reference, output.version, output.channel, strict=True):
        assert pairs[channel, x] == y
    assert set(output.channel) == {0, 1, 2, 3}
    assert 1000 <= len(output.reference) <= 2 * 1200
    assert "channel 2" in found.to_html()
    assert found.to_pandas()["channels"].iloc[0] == "2"


def own(before: Tensor, after: Tensor, channel: int) -> tuple[list[float], list[float]]:
    return before[:, channel].double().flatten().tolist(), after[:, channel].double().flatten().tolist()


# Pictures -------------------------------------------------------------------------------------------------------------


def test_a_picture_goes_from_black_to_white_and_what_is_none_has_none() -> None:
    image = torch.tensor([[[-2.0, 0.0], [1.0, 2.0]]]).expand(3, -1, -1)
    drawn = pixels(image)
    assert drawn is not None
    assert drawn[..., 0].tolist() == [[0, 128], [191, 255]]
    assert (picture(address(drawn)) == drawn).all()
    assert pixels(torch.zeros(4, 8, 8)) is None
    assert pixels(torch.zeros(8)) is None
    assert max(picture(address(np.zeros((400, 900, 3), np.uint8))).shape) == 160


def test_names_of_classes_are_the_data_sets_own() -> None:
    class Data:
        classes = ("a", "b")

    class Loader:
        dataset = Data()

    assert class_names(Data()) == class_names(Loader()) == ("a", "b")
    assert class_names([torch.zeros(1)]) == ()
