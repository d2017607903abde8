"""Files that somebody has quantized: the float network behind them, and their own formats."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

from qdiag import calibrate, compare, export_onnx, lint_model, load_formats, load_model, trace
from qdiag.errors import ModelError
from qdiag.loading import reference
from tests.loading.files import node, write
from tests.loading.test_onnx_networks import export

IMAGES = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head((x + self.deep(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return Net().eval()


class Images(CalibrationDataReader):
    def __init__(self, name: str):
        self.rest: Iterator[Any] = iter([{name: image[None].numpy()} for image in IMAGES])

    def get_next(self) -> Any:
        return next(self.rest, None)


def quantized_by_onnxruntime(net: nn.Module, folder: Path, **options: Any) -> Path:
    file = export(net, IMAGES[:1], folder / "float.onnx", 17, dynamo=False)
    images = Images(onnx.load(file).graph.input[0].name)
    quantize_static(file, folder / "net.onnx", images, **{"quant_format": QuantFormat.QDQ, **options})
    return folder / "net.onnx"


@pytest.mark.parametrize("per_channel", [None, "all"])
def test_a_file_of_ours_gives_the_integers_that_it_was_made_from(
    per_channel: Any, net: nn.Module, tmp_path: Path
) -> None:
    quantized = calibrate(net, IMAGES, "simple", target="onnxruntime", per_channel=per_channel)
    exported = export_onnx(quantized, tmp_path / "net.onnx", IMAGES[:2])
    given = load_formats(load_model(exported.path), IMAGES)
    assert given.is_whole
    (theirs,) = InferenceSession(exported.path).run(None, {exported.inputs[0]: IMAGES.numpy()})
    assert torch.equal(given.quantized(IMAGES), quantized(IMAGES))
    np.testing.assert_array_equal(given.quantized(IMAGES).numpy(), theirs)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_behind_the_integers_of_others_is_their_float_network(
    per_channel: bool, kind: QuantType, net: nn.Module, tmp_path: Path
) -> None:
    """Also where a format took the place of a ReLU."""
    file = quantized_by_onnxruntime(net, tmp_path, per_channel=per_channel, activation_type=kind)
    loaded = load_model(file)
    with torch.no_grad():
        assert reference.difference(loaded(IMAGES), net(IMAGES)) < 0.02
    assert "relu" in [site.op for site in trace(loaded, IMAGES).sites()]
    lint_model(loaded, IMAGES)
    compare(loaded, IMAGES)


def test_formats_that_are_no_powers_of_two_are_shown_and_stay_in_float(net: nn.Module, tmp_path: Path) -> None:
    given = load_formats(load_model(quantized_by_onnxruntime(net, tmp_path)), IMAGES)
    assert not given.is_whole
    assert {row.obstacle for row in given.rows} >= {"its scale is no power of two"}
    assert f"cannot be represented yet: {sum(bool(row.obstacle) for row in given.rows)}" in str(given)
    assert {row.what for row in given.rows} == {"tensor", "weight"}


def test_the_same_integers_held_unsigned_are_a_symmetric_format(tmp_path: Path) -> None:
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("Conv", "d w", "c"),
        node("QuantizeLinear", "c s z", "qc"),
        node("DequantizeLinear", "qc s z"),
    ]
    weight = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)
    constants: dict[str, Any] = {"s": np.array(0.0625, np.float32), "z": np.array(128, np.uint8), "w": weight}
    given = load_formats(load_model(write(tmp_path / "net.onnx", nodes, constants)), torch.randn(2, 3, 8, 8))
    assert given.is_whole
    assert [str(given.quantized.format(site)) for site in (":input", "y")] == ["int8 · 2^-4"] * 2


def test_operators_that_compute_in_integers_are_refused_with_what_to_do(net: nn.Module, tmp_path: Path) -> None:
    file = quantized_by_onnxruntime(net, tmp_path, quant_format=QuantFormat.QOperator)
    with pytest.raises(ModelError, match=r"QLinearConv .* computes in integers itself\. Quantize .* in the format QDQ"):
        load_model(file)


def test_a_model_of_no_quantized_file_has_no_given_formats(net: nn.Module) -> None:
    with pytest.raises(ModelError, match="holds no formats of a file"):
        load_formats(net, IMAGES)
