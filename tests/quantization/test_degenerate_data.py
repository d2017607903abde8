"""Data and weights that say little give a working model, and a note."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.calibration_report import calibration_report
from tests.models import IMAGE, Small, settle

IMAGES = torch.randn(16, *IMAGE[1:], generator=torch.Generator().manual_seed(0))


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return settle(Small(), IMAGES).eval()


def changed(change: Callable[[nn.Module], object]) -> nn.Module:
    model = small()
    with torch.no_grad():
        change(model)
    return model


def all_negative() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    with torch.no_grad():
        model.get_parameter("0.bias").fill_(-30.0)
    return model.eval()


CASES: dict[str, tuple[Callable[[], nn.Module], Tensor, str]] = {
    "one image": (small, IMAGES[:1], "Calibrated on 1 image"),
    "constant images": (small, torch.full_like(IMAGES, 0.5), "1 tensor never changes"),
    "black images": (small, torch.zeros_like(IMAGES), "1 tensor never changes"),
    "a dead channel": (lambda: changed(lambda m: m.get_parameter("bn1.bias")[:1].fill_(-50.0)), IMAGES, ""),
    "a dead layer": (lambda: changed(lambda m: m.get_parameter("bn1.bias").fill_(-50.0)), IMAGES, "never change"),
    "negative tensors": (all_negative, -IMAGES.abs() - 1, ""),
    "a channel 1000 times the others": (
        lambda: changed(lambda m: m.get_parameter("bn2.weight")[1:2].mul_(1000.0)),
        IMAGES,
        "Weights of whole channels round to 0",
    ),
    "weights of zeros": (lambda: changed(lambda m: m.get_parameter("conv2.weight").zero_()), IMAGES, ""),
}


@pytest.mark.parametrize("method", ["simple", "advanced", "advanced-dw", "best"])
@pytest.mark.parametrize("name", CASES)
def test_degenerate_data_gives_a_working_model_and_a_note(name: str, method: str) -> None:
    build, images, note = CASES[name]
    model = build()
    quantized = calibrate(model, images, method)
    with torch.no_grad():
        expected = model(images)
    assert float((quantized(images) - expected).norm() / expected.norm()) < 0.05
    shown = repr(calibration_report(quantized))
    if method == "simple":  # others may mend what the note is about
        assert note in shown
        assert bool(note) == ("▲" in shown)


def test_what_no_technique_helped_is_reported() -> None:
    report = calibration_report(calibrate(all_negative(), -IMAGES.abs() - 1, ["range-search", "equalization"]))
    assert "Kept:" in repr(report)


def test_notes_stand_in_the_data_too() -> None:
    notes = calibration_report(calibrate(small(), IMAGES[:1], "simple")).to_json()
    assert "Calibrated on 1 image. Others may hold larger values" in notes


def test_clipped_values_are_counted() -> None:
    """By hand: the input's format, one bit finer than its extremes ask for."""
    quantized = calibrate(small(), IMAGES, "advanced")
    report = calibration_report(quantized)
    stored = {one.site: one for one in report.formats}[":input"]
    qparams = quantized.format(":input")
    assert qparams is not None
    half = 0.5 * 2.0 ** int(qparams.exponent)
    beyond = ((qparams.high + half < IMAGES) | (qparams.low - half > IMAGES)).float().mean()
    assert stored.clipped_percent == pytest.approx(100 * float(beyond))
