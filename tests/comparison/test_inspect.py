"""A close look at single layers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from qdiag.comparison.inspect import IMAGES, inspect
from qdiag.comparison.site_detail import BINS, SiteDetail
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.report.elements import charts_in
from tests.models import IMAGE, Small, calibrate, settle


@pytest.fixture(scope="module")
def model() -> Small:
    return settle(Small(), torch.randn(IMAGE))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(12, 3, 12, 12)


@pytest.fixture(scope="module")
def lanes(model: Small, images: Tensor) -> dict[str, QuantizedModel]:
    return {"8-bit": calibrate(model, images), "4-bit": calibrate(model, images, bits=4)}


def only(model: Small, images: Tensor, lanes: dict[str, QuantizedModel], name: str) -> SiteDetail:
    (detail,) = inspect(model, images, lanes, [name])
    return detail


def test_histograms_count_every_value(model: Small, images: Tensor, lanes: dict[str, QuantizedModel]) -> None:
    detail = only(model, images, lanes, ":input")
    assert detail.images == IMAGES
    assert set(detail.counts) == {"float", "8-bit", "4-bit"}
    assert np.diff(detail.edges) == pytest.approx(detail.scales["4-bit"])  # one of its values in a bin
    values = images[:IMAGES].numpy()
    assert {sum(counts) for counts in detail.counts.values()} == {values.size}
    expected, _ = np.histogram(values, bins=detail.edges)
    assert detail.counts["float"] == tuple(expected)
    assert sum(count > 0 for count in detail.counts["4-bit"]) <= 16  # a 4-bit tensor has 16 values


def test_every_bin_holds_as_many_values_of_the_format(model: Small, images: Tensor) -> None:
    (detail,) = inspect(model, images, {"8-bit": calibrate(model, images)}, [":input"])
    steps = np.diff(detail.edges) / detail.scales["8-bit"]
    assert len(steps) <= BINS
    assert steps == pytest.approx(round(steps[0]))
    assert (detail.edges[0] / detail.scales["8-bit"]) % 1 == pytest.approx(0.5)  # borders lie between values


def test_histograms_of_weights_count_every_weight(
    model: Small, images: Tensor, lanes: dict[str, QuantizedModel]
) -> None:
    detail = only(model, images, lanes, "conv1")
    assert set(detail.weight_counts) == {"float", "4-bit"}
    assert {sum(counts) for counts in detail.weight_counts.values()} == {model.conv1.weight.numel()}
    assert 1 < sum(count > 0 for count in detail.weight_counts["4-bit"]) <= 16
    assert only(model, images, lanes, ":input").weight_counts == {}


def test_channels_are_those_of_the_float_tensor(model: Small, images: Tensor, lanes: dict[str, QuantizedModel]) -> None:
    detail = only(model, images, lanes, ":input")
    rows = images[:IMAGES].transpose(0, 1).flatten(1)
    assert detail.channel_low == pytest.approx(rows.amin(1).tolist())
    assert detail.channel_high == pytest.approx(rows.amax(1).tolist())
    assert detail.weight_magnitudes == ()


def test_weights_are_those_merged_with_the_norm(model: Small, images: Tensor, lanes: dict[str, QuantizedModel]) -> None:
    detail = only(model, images, lanes, "conv1")
    assert model.bn1.running_var is not None
    factor = model.bn1.weight / (model.bn1.running_var + model.bn1.eps).sqrt()
    expected = model.conv1.weight.abs().amax((1, 2, 3)) * factor.abs()
    assert detail.weight_magnitudes == pytest.approx(expected.tolist())


def test_ends_are_those_of_the_formats(model: Small, images: Tensor, lanes: dict[str, QuantizedModel]) -> None:
    detail = only(model, images, lanes, "head")
    for name, quantized in lanes.items():
        qparams = quantized.format("head")
        assert qparams is not None
        assert detail.limits[name] == (qparams.low, qparams.high)


def test_details_come_in_the_order_asked_for(model: Small, images: Tensor, lanes: dict[str, QuantizedModel]) -> None:
    details = inspect(model, images, lanes, ["head", "relu1", ":input"])
    assert [str(detail.site) for detail in details] == ["head", "conv1", ":input"]


def test_maps_are_of_the_channels_that_differ_most(
    model: Small, images: Tensor, lanes: dict[str, QuantizedModel]
) -> None:
    maps = only(model, images, lanes, ":input").maps
    reference = images[:1]
    grid = lanes["4-bit"].format(":input")
    assert grid is not None
    noise = [float(((m.version - m.reference) ** 2).mean() / (m.reference**2).mean()) for m in maps]
    assert sorted(m.channel for m in maps) == [0, 1, 2]
    assert noise == sorted(noise, reverse=True)
    for shown in maps:
        assert np.array_equal(shown.reference, reference[0, shown.channel].numpy())
        steps = shown.version / 2.0 ** int(grid.exponent)
        assert np.array_equal(steps, steps.round())
    assert only(model, images, lanes, "head").maps == ()


def test_a_close_look_has_every_face(model: Small, images: Tensor, lanes: dict[str, QuantizedModel]) -> None:
    detail = only(model, images, lanes, "conv1")
    charts = charts_in(detail.report())
    assert [chart.kind for chart in charts] == ["histogram", "histogram", "line"]
    assert [chart.key for chart in charts] == ["output", "weights", "channels"]
    assert [mark.value for mark in charts[0].marks] == list(detail.limits["4-bit"])
    assert charts[0].x_grid == detail.scales["4-bit"]
    channels = detail.to_pandas()
    assert list(channels["high"]) == list(detail.channel_high)
    assert list(channels["weight"]) == list(detail.weight_magnitudes)
    loudest = int(np.argmax(detail.channel_magnitudes))
    assert charts[2].names[0] == f"channel {loudest}"
    assert "conv1, close up" in str(detail)
    assert "<img" in detail._repr_mimebundle_()["text/html"]
    assert len(only(model, images, lanes, ":input").report().blocks) == 3  # no weights: one histogram less


def test_pictures_are_written(model: Small, images: Tensor, lanes: dict[str, QuantizedModel], tmp_path: Path) -> None:
    written = only(model, images, lanes, "conv1").to_png(tmp_path / "pictures")
    assert [path.name for path in written] == [
        "1-output-of-conv1-8-images.png",
        "2-weights-of-conv1-batchnorm-merged.png",
        "3-largest-magnitude-by-channel-of-conv1.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
