"""Calibration: from images to ranges."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from qdiag.errors import QdiagWarning
from qdiag.numerics.ranges.range import Range
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.progress import Progress
from qdiag.quantization.calibrate import calibration_steps
from qdiag.subject import Subject
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.tracer import trace
from tests.models import IMAGE, ZOO, Branching, Small, calibrate, settle


@pytest.fixture
def model() -> Small:
    return settle(Small(), torch.randn(IMAGE))  # type: ignore[return-value]


def outputs_of(model: nn.Module, images: Tensor, *names: str) -> dict[str, Tensor]:
    """What modules compute in float, taken with hooks."""
    found: dict[str, Tensor] = {}
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: found.update({name: y.clone()}))
    with torch.no_grad():
        model(images)
    return found


def test_ranges_are_the_extremes_of_the_float_tensors(model: Small) -> None:
    images = torch.randn(40, 3, 12, 12)
    quantized = calibrate(model, list(images.split(7)))
    expected = {":input": images, **outputs_of(model, images, "relu1", "bn2", "relu2", "pool", "head")}
    layers = {"relu1": "conv1", "bn2": "conv2", "relu2": ":add"}
    for name, tensor in expected.items():
        found = quantized.calibration.ranges[quantized.plan.layer(layers.get(name, name)).site]
        assert (found.low, found.high) == pytest.approx((float(tensor.min()), float(tensor.max())), rel=1e-5, abs=1e-6)


def test_every_layer_has_a_range() -> None:
    for specimen in ZOO.values():
        quantized = calibrate(specimen.model(), Inputs(*specimen.inputs()))
        assert set(quantized.calibration.ranges) == {layer.site for layer in quantized.plan.layers}


def test_only_as_many_images_as_asked_for(model: Small) -> None:
    images = torch.cat([torch.rand(8, 3, 12, 12), 100 * torch.rand(8, 3, 12, 12)])
    few = calibrate(model, list(images.split(4)), max_images=8)
    assert few.calibration.ranges[few.plan.layer(":input").site].high < 1.0
    everything = calibrate(model, list(images.split(4)))
    assert everything.calibration.ranges[everything.plan.layer(":input").site].high > 90


def test_labels_are_not_used(model: Small) -> None:
    images = torch.randn(8, 3, 12, 12)
    with_labels = DataLoader(TensorDataset(images, torch.arange(8)), batch_size=4)
    assert calibrate(model, with_labels).calibration.ranges == pytest.approx(
        calibrate(model, images).calibration.ranges
    )


def test_several_formats_share_one_pass(model: Small) -> None:
    steps = calibration_steps(
        Subject(model, torch.randn(32, 3, 12, 12)), "simple", [(16, None), (8, "all"), (None, None)]
    )
    found: list[Any] = []
    while True:
        try:
            found.append(next(steps))
        except StopIteration as end:
            models = end.value
            break
    assert found == [Progress("calibrating", 1, 2), Progress("calibrating", 2, 2)]
    assert [quantized.plan.label for quantized in models] == ["16-bit", "8-bit all per-channel", "float"]
    assert models[0].calibration.ranges == models[1].calibration.ranges


def test_an_untrained_mode_does_not_show(model: Small) -> None:
    images = torch.randn(IMAGE)
    expected = calibrate(model.eval(), images).calibration.ranges
    assert calibrate(model.train(), images).calibration.ranges == expected


def test_another_way_through_the_model_is_told() -> None:
    bright = torch.rand(IMAGE) + 1
    with pytest.warns(QdiagWarning, match=r"did not run .*: dark"):
        quantized = calibrate(Branching(), [bright, -bright])
    with pytest.warns(QdiagWarning, match="dark"):
        quantized(-bright)
    assert quantized(bright).shape == (4, 4, 10, 10)


def test_a_layer_that_no_image_reached_has_a_range_of_one() -> None:
    class Rarely(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x[x.mean((1, 2, 3)) > 0])

    quantized = calibrate(Rarely(), -torch.rand(IMAGE))
    assert quantized.calibration.ranges[quantized.plan.layer("conv").site] == Range(0.0, 0.0)
    assert str(quantized.format("conv")) == "uint8 · 2^-8"


def test_channels_last_is_tried_and_left_where_a_model_cannot() -> None:
    class Views(Small):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.view(len(x), -1).reshape(x.shape))

    images = torch.randn(IMAGE)
    assert Subject(Small(), images).prefers_channels_last
    assert not Subject(Views(), images).prefers_channels_last
    quantized = calibrate(Views().eval(), images)
    assert not quantized.channels_last
    assert quantized(images).shape == (4, 5)


def test_inputs_that_are_not_floating_point_have_no_range() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.conv = nn.Embedding(10, 4), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            return self.conv(x) + self.table(index)[:, :, None, None]

    inputs = torch.randn(IMAGE), torch.arange(4)
    plan = plan_quantization(trace(Embedded(), inputs))
    assert [str(layer.site) for layer in plan.layers][:2] == [":input", "conv"]
    quantized = calibrate(Embedded(), [inputs])
    assert quantized(*inputs).shape == (4, 4, 12, 12)
