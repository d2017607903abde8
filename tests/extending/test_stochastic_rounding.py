"""A user's own numeric version takes part in a comparison like any other."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.quantization.quantized_model import QuantizedModel
from tests.extending import stochastic_rounding
from tests.extending.stochastic_rounding import StochasticRounding
from tests.models import ZOO, InplaceSum, calibrate, settle

PAGE = Path(__file__).parents[2] / "docs/extending/numerics.md"


@pytest.fixture
def images() -> Tensor:
    return torch.randn(16, 3, 24, 24)


def versions(model: nn.Module, images: Tensor, **options: object) -> dict[str, QuantizedModel]:
    quantized = calibrate(model, images, **options)  # type: ignore[arg-type]
    return {"nearest": quantized, "stochastic": quantized.change(numerics=StochasticRounding)}


def test_it_stands_beside_the_targets_own_rounding_in_a_comparison(images: Tensor) -> None:
    model = settle(InplaceSum(), images)
    comparison = compare(model, images, quantized=versions(model, images))
    assert comparison.lanes == ("nearest", "stochastic")
    nearest, stochastic = (comparison.layer(":input").lanes[name] for name in comparison.lanes)
    assert nearest.format == stochastic.format
    # a value between two others errs by s^2 / 12 to the nearest, and by s^2 / 6 at random
    assert stochastic.added_noise / nearest.added_noise == pytest.approx(2, rel=0.1)
    assert comparison.outputs["stochastic"].relative_error > comparison.outputs["nearest"].relative_error
    assert "stochastic" in repr(comparison)


def test_errors_are_zero_on_average() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    nn.init.ones_(model[0].weight)  # type: ignore[arg-type]
    images = torch.full((4, 1, 64, 64), 0.3 / 256)  # under half of the least value that 8 bits hold beside a 1
    images[0, 0, 0, 0] = 1.0
    nearest, stochastic = versions(model, images).values()
    assert float(nearest(images)[1:].mean()) == 0
    assert float(stochastic(images)[1:].mean()) == pytest.approx(0.3 / 256, rel=0.1)


def test_a_relu6_keeps_its_bounds_and_a_sum_in_place_is_stored(images: Tensor) -> None:
    for name in ("ReLU6 over 6", "out += identity", "decoder"):
        specimen = ZOO[name]
        model, inputs = specimen.model(), specimen.inputs()
        stochastic = versions(model, inputs[0], bits=16)["stochastic"]
        with torch.no_grad():
            torch.testing.assert_close(stochastic(*inputs), model(*inputs), rtol=0.02, atol=0.02)


def test_the_page_shows_this_very_file() -> None:
    code = Path(stochastic_rounding.__file__).read_text(encoding="utf-8")
    assert f"```python\n{code}```" in PAGE.read_text(encoding="utf-8")
