"""Images that float reads better in another way, classes that are exchanged, and ranges from unlike images."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.float_figures import Confusion
from qdiag.comparison.probe import probe
from qdiag.demo.digits import digits as digits_of
from qdiag.demo.load import load_demo
from qdiag.explanation.verdict import judge
from qdiag.subject import Subject

Digits = tuple[nn.Module, Tensor, Tensor]


@pytest.fixture(scope="module")
def digits() -> Digits:
    demo = load_demo("healthy")
    parts = [(images[:96], labels[:96]) for images, labels in demo.loader]
    return demo.model, parts[0][0], parts[0][1]


SPOILT: dict[str, Callable[[Tensor], Tensor]] = {
    "upside down": lambda x: x.flip(2),
    "mirrored": lambda x: x.flip(3),
    "with rows for columns": lambda x: x.transpose(2, 3),
    "negated": torch.neg,
    "times 255": lambda x: x / 255,
    "divided by 255": lambda x: x * 255,
}


@pytest.mark.parametrize("how", SPOILT)
def test_the_way_in_which_float_reads_the_images_is_told(how: str, digits: Digits) -> None:
    model, images, labels = digits
    found = judge(compare(model, [(SPOILT[how](images), labels)], (8,)))
    assert found.kind == "float-is-wrong"
    assert f"Float reads these images better {how}:" in found.text


def test_colours_in_another_order() -> None:
    """A network that names the brightest colour, of images in which green is brightest in every third one."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    nn.init.dirac_(net[0].weight)  # type: ignore[arg-type]
    labels = torch.arange(60) % 3
    images = torch.rand(60, 3, 4, 4) + 2 * torch.eye(3)[labels].view(60, 3, 1, 1)
    found = judge(compare(net, [(images.flip(1), labels)], (8,)))
    assert found.kind == "float-is-wrong"
    assert "with red and blue exchanged: 100.0 % are right then" in found.text


def test_masks_of_images_that_lie_upside_down() -> None:
    """A network that marks bright pixels; the lower half is bright."""
    net = nn.Conv2d(1, 2, 1).eval()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        net.bias.copy_(torch.tensor([0.5, -0.5]))  # type: ignore[union-attr]
    images = torch.cat([torch.rand(40, 1, 4, 8) * 0.6, 1 - torch.rand(40, 1, 4, 8) * 0.6], 2)
    masks = (images[:, 0] > 0.5).long()
    assert probe(Subject(net, [(images, masks)])).better is None
    better = probe(Subject(net, [(images.flip(2), masks)])).better
    assert better is not None
    assert (better.how, better.right, better.images) == ("upside down", 1.0, 40)


def test_statistics_that_were_not_loaded(digits: Digits) -> None:
    model, images, labels = digits
    fresh = copy.deepcopy(model)
    for module in fresh.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    before = copy.deepcopy(fresh.state_dict())
    found = judge(compare(fresh, [(images, labels)], (8,)))
    assert found.kind == "float-is-wrong"
    assert "better with BatchNorm's statistics taken from the images" in found.text
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())


def test_images_that_are_as_they_should_be_have_no_better_reading(digits: Digits) -> None:
    model, images, labels = digits
    noisy = labels.clone()
    noisy[::3] = (noisy[::3] + 4) % 10  # a third of the labels is wrong: another reading might be right more often
    assert probe(Subject(model, [(images, labels)])).better is None
    assert probe(Subject(model, [(images, noisy)])).better is None
    assert probe(Subject(model, images)).better is None


def test_two_classes_that_are_exchanged(digits: Digits) -> None:
    model, images, labels = digits
    exchanged = labels.clone()
    exchanged[labels == 3], exchanged[labels == 5] = 5, 3
    found = judge(compare(model, [(images, exchanged)], (8,)))
    assert found.kind == "float-is-wrong"
    assert found.headline == "Float takes 2 classes for others of them."


def test_a_class_that_float_takes_for_another_is_no_exchange() -> None:
    counts = Confusion(3)
    labels = torch.tensor([0] * 8 + [1] * 8 + [2] * 8)
    counts.update(torch.tensor([1] * 8 + [1] * 8 + [2] * 8), labels)  # all of 0 is taken for 1, and 1 for itself
    assert counts.figures(24, 3).exchanged == 0


def compared(digits: Digits, calibration: Tensor) -> Comparison:
    return compare(digits[0], [digits[1:]], (16, 8), calibration_data=calibration)


def test_ranges_from_one_dull_image_are_the_calibration_and_no_other_fault() -> None:
    demo = load_demo("healthy")
    images, _ = digits_of("calibration")
    dull = images[images.flatten(1).std(1).argmin()].repeat(8, 1, 1, 1)
    found = judge(compare(demo.model, demo.loader, (16, 8), calibration_data=dull))
    assert found.kind == "small-loss"
    assert "by its calibration range" in found.headline
    assert "lie outside the calibrated range" in found.text


def test_ranges_that_leave_16_bit_nothing_right_are_not_quantization(digits: Digits) -> None:
    found = judge(compared(digits, digits[1] / 32))
    assert found.kind == "not-quantization"
    assert found.headline.startswith("It is the calibration, not 8 bit")


def test_16_bit_that_decides_otherwise_for_many_images_is_not_fine(digits: Digits) -> None:
    comparison = compared(digits, digits[1])
    output = comparison.outputs["16-bit"]
    many = replace(
        output, agreement_percent=87.0, agreement_interval=(82.0, 91.0), drop_points=3.5, drop_interval=(-0.6, 7.7)
    )
    lost = replace(output, agreement_percent=10.0, agreement_interval=(7.0, 15.0), drop_points=75.0)
    assert judge(replace(comparison, outputs={"16-bit": many, "8-bit": lost})).kind == "not-quantization"
