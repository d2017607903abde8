"""Networks that take one number of images at a time go through every verb, in batches of that number."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.errors import InputError, ModelError, OptionError, QdiagWarning
from qdiag.export.export_onnx import export_onnx
from qdiag.export.verify import verify
from qdiag.linting.lint import lint_model
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tracing.batches import batches
from qdiag.tracing.fixed_batch import fixed_batch
from qdiag.training.recipe import Recipe
from qdiag.training.train import train

IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Fixed(nn.Module):
    """As many exported networks: the number of images is written into a shape."""

    def __init__(self, images: int):
        super().__init__()
        self.images, self.first, self.last = images, nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu().view(self.images, 4 * 36))


def net(images: int) -> Fixed:
    torch.manual_seed(1)
    return Fixed(images).eval()


@pytest.mark.parametrize(("images", "data"), [(8, IMAGES), (1, IMAGES[:6]), (4, [IMAGES[:12]]), (16, [IMAGES, IMAGES])])
def test_the_number_is_found_and_kept_to(images: int, data: Any, tmp_path: Path) -> None:
    model = net(images)
    found = compare(model, data)
    assert fixed_batch(model) == images
    assert found.images == sum(map(len, data)) if isinstance(data, list) else len(data)
    lint_model(model, data)
    quantized = calibrate(model, data)
    assert verify(quantized, data, images=2).exit_code == 0
    with pytest.warns(QdiagWarning, match=f"takes {images} at a time"):
        assert not export_onnx(quantized, tmp_path / "net.onnx").dynamic_batch
    assert len(train(QuantTrainModule.from_calibrated(quantized), data, Recipe(epochs=1)).history) == 1


def test_it_computes_what_a_network_of_any_number_does() -> None:
    fixed, free = net(8), nn.Sequential(net(8).first, nn.ReLU(), nn.Flatten(), net(8).last).eval()
    ours, theirs = (compare(model, IMAGES).outputs["8-bit"] for model in (fixed, free))
    assert ours.sqnr_db == pytest.approx(theirs.sqnr_db, rel=1e-6)


def test_images_that_are_left_over_are_told() -> None:
    model = net(4)
    compare(model, IMAGES)
    with pytest.warns(QdiagWarning, match=r"2 of the 6 in batch 1 .* left out.*drop_last"):
        found = compare(model, [IMAGES[:4], IMAGES[:6]])
    assert found.images == 8


def test_what_is_no_matter_of_numbers_is_the_models_own_error() -> None:
    model = net(8)
    with pytest.raises(ModelError, match="model-raised"):
        compare(model, IMAGES[:6])  # no number that divides 6 goes through
    assert fixed_batch(model) is None
    with pytest.raises(ModelError, match="model-raised"):
        compare(model, torch.randn(16, 5, 8, 8))


def test_other_numbers_are_refused_once_it_is_known() -> None:
    model = net(8)
    compare(model, IMAGES)
    with pytest.raises(InputError, match="takes 8 images at a time, and a batch of the data holds 3"):
        _ = batches([IMAGES[:3]], model).first
    module = QuantTrainModule.from_calibrated(calibrate(model, IMAGES, "simple"))
    with pytest.raises(OptionError, match="takes 8 images at a time"):
        train(module, IMAGES, Recipe(epochs=1, batch_size=4))
