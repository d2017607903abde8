"""What stands in a file, what it takes, and what happens where it cannot be written."""

import errno
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from qdiag.errors import InputError, ModelError, OptionError, QdiagWarning, SiteNotFound
from qdiag.export import export_onnx as room
from qdiag.export.export_onnx import export_onnx
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs
from tests.export.checks import run_file
from tests.models import Relu6OverSix, Small, calibrate, settle

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def small(**options: Any) -> QuantizedModel:
    torch.manual_seed(0)
    return calibrate(settle(Small(), IMAGES), IMAGES, **options)


def kinds(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def test_a_file_of_clips_holds_float_operators_and_clips_alone(tmp_path: Path) -> None:
    exported = export_onnx(small(), tmp_path / "model.onnx", style="clips")
    assert kinds(exported.path) == {"Conv", "Clip", "Add", "GlobalAveragePool", "Reshape", "Gemm"}


def test_a_file_of_integers_holds_pairs_of_quantize_and_dequantize_beside_them(tmp_path: Path) -> None:
    exported = export_onnx(small(), tmp_path / "model.onnx")
    floats = {"Conv", "Relu", "Add", "GlobalAveragePool", "Reshape", "Gemm"}
    assert kinds(exported.path) == floats | {"QuantizeLinear", "DequantizeLinear"}
    operators = [node.op_type for node in onnx.load(exported.path).graph.node]
    assert operators.count("QuantizeLinear") == len(exported.names) == 6


def test_clips_end_at_powers_of_two_and_at_the_six_of_a_relu6(tmp_path: Path) -> None:
    torch.manual_seed(0)
    quantized = calibrate(settle(Relu6OverSix(), IMAGES), IMAGES)
    file = onnx.load(export_onnx(quantized, tmp_path / "model.onnx", style="clips").path)
    constants = {value.name: float(numpy_helper.to_array(value)) for value in file.graph.initializer if not value.dims}
    ends = {
        node.output[0]: [constants[name] for name in node.input[1:]]
        for node in file.graph.node
        if "Clip" in node.op_type
    }
    assert ends[":mul"] == [0.0, 6.0]
    for low, high in (ends[site] for site in (":input", "conv")):
        assert low == -high
        assert np.log2(high).is_integer()


@pytest.mark.parametrize("per_channel", [None, "all"])
def test_weights_are_the_merged_ones_counted_in_steps(per_channel: Any, tmp_path: Path) -> None:
    quantized = small(per_channel=per_channel)
    file = onnx.load(export_onnx(quantized, tmp_path / "model.onnx").path)
    held = {value.name: numpy_helper.to_array(value) for value in file.graph.initializer}
    (reader,) = [node for node in file.graph.node if node.input[0] == "conv1.weight"]
    scale = held[reader.input[1]]
    net: Any = quantized.module
    gain = net.bn1.weight / torch.sqrt(net.bn1.running_var + net.bn1.eps)
    merged = (net.conv1.weight * gain.reshape(-1, 1, 1, 1)).detach().double().numpy()
    largest = np.abs(merged).reshape(8, -1).max(1) if per_channel else np.abs(merged).max()
    np.testing.assert_array_equal(scale, 2.0 ** np.ceil(np.log2(largest)) / 128)
    expected = np.clip(np.rint(merged / scale.reshape(-1, 1, 1, 1)), -128, 127)
    assert held["conv1.weight"].dtype == np.int8
    np.testing.assert_array_equal(held["conv1.weight"], expected)
    assert held["conv1.bias"].dtype == np.int32


@pytest.mark.parametrize("style", ["qdq", "clips"])
def test_every_stored_tensor_is_in_the_file_under_its_own_name(style: Any, tmp_path: Path) -> None:
    exported = export_onnx(small(), tmp_path / "model.onnx", style=style)
    file = onnx.load(exported.path)
    tensors = {name for node in file.graph.node for name in node.output}
    assert list(exported.names) == [":input", "conv1", "conv2", ":add", "pool", "head"]
    assert set(exported.names.values()) <= tensors
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    assert json.loads(metadata["qdiag.names"]) == exported.names
    assert metadata["qdiag.style"] == style
    assert exported.name("conv1") == ("conv1 uint8" if style == "qdq" else "conv1")
    with pytest.raises(SiteNotFound, match="conv1, conv2"):
        exported.name("conv3")


def test_a_file_says_nothing_of_the_machine_it_was_made_on(tmp_path: Path) -> None:
    content = export_onnx(small(), tmp_path / "model.onnx").path.read_bytes()
    for path in (Path(__file__).parents[2], Path(torch.__file__).parent, tmp_path, Path.home()):
        assert str(path).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize("images", [1, 3, 7])
@pytest.mark.parametrize("traced", [1, 4])
def test_a_file_takes_any_number_of_images(images: int, traced: int, tmp_path: Path) -> None:
    quantized = small(target="onnxruntime")
    exported = export_onnx(quantized, tmp_path / "model.onnx", IMAGES[:traced])
    assert exported.dynamic_batch
    given = torch.randn(images, 3, 12, 12)
    (found,) = run_file(exported.path, Inputs(given))
    np.testing.assert_array_equal(found, quantized(given).numpy())
    assert onnx.load(exported.path).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_a_forward_that_fixes_the_number_of_images_is_warned_of(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).reshape(4, -1)

    quantized = calibrate(Fixed(), [IMAGES])
    with pytest.warns(QdiagWarning, match="takes 4 at a time"):
        assert not export_onnx(quantized, tmp_path / "model.onnx", IMAGES).dynamic_batch
    assert not export_onnx(quantized, tmp_path / "model.onnx", IMAGES, dynamic_batch=False).dynamic_batch


@pytest.mark.parametrize(
    ("bits", "given", "expected"), [(8, None, 18), (16, None, 21), (8, 20, 20), ({"head": 16}, None, 21)]
)
def test_the_opset_is_the_least_that_will_do_or_the_one_asked_for(
    bits: Any, given: int | None, expected: int, tmp_path: Path
) -> None:
    exported = export_onnx(small(bits=bits), tmp_path / "model.onnx", opset=given)
    onnx.checker.check_model(exported.path, full_check=True)
    (own,) = [entry.version for entry in onnx.load(exported.path).opset_import if not entry.domain]
    assert own == exported.opset == expected


def test_sixteen_bits_are_sixteen_bits_in_the_file(tmp_path: Path) -> None:
    file = onnx.load(export_onnx(small(bits={"head": 16, "*": 8}), tmp_path / "model.onnx").path)
    types = {value.name: value.data_type for value in file.graph.initializer}
    assert types["head.weight"] == TensorProto.INT16
    assert types["conv2.weight"] == TensorProto.INT8


@pytest.mark.parametrize(
    ("bits", "options", "says"),
    [
        (8, {"opset": 10}, "files are written from 11 to"),
        (8, {"opset": 99}, "files are written from 11 to"),
        (16, {"opset": 18}, "came with opset 21"),
        (6, {}, "has 6 bits, and a file of integers 8 or 16"),
        (8, {"style": "tflite"}, "it is 'qdq' or 'clips'"),
    ],
)
def test_options_that_no_file_can_have_are_refused(bits: int, options: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=says):
        export_onnx(small(bits=bits), tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_six_bits_are_left_to_the_importer_in_a_file_of_clips(tmp_path: Path) -> None:
    assert export_onnx(small(bits=6), tmp_path / "model.onnx", style="clips").path.is_file()


def test_data_may_be_a_loader_whose_first_batch_counts(tmp_path: Path) -> None:
    data = TensorDataset(IMAGES, torch.zeros(4))
    for given in (data, DataLoader(data, 2)):
        assert export_onnx(small(), tmp_path / "model.onnx", given).inputs == ("input",)


def test_an_input_without_tensors_or_with_nan_is_refused(tmp_path: Path) -> None:
    for given, says in (({}, "holds no tensor"), (torch.full((1, 3, 12, 12), torch.nan), "NaN")):
        with pytest.raises(InputError, match=says):
            export_onnx(small(), tmp_path / "model.onnx", given)


@pytest.mark.parametrize(
    ("path", "says"),
    [("no/such/model.onnx", "there is no folder"), (".", "it is no file"), (os.devnull, "it is no file")],
)
def test_a_path_that_is_none_is_refused(path: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=says):
        export_onnx(small(), tmp_path / path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(_: Any, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "model.onnx"
    path.write_bytes(b"the one before")
    monkeypatch.setattr(torch.onnx.ONNXProgram, "save", save)
    with pytest.raises(OptionError, match="No space left on device"):
        export_onnx(small(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"the one before"


def test_weights_too_large_for_one_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGEST", 100)
    with pytest.raises(ModelError, match="Export the network in parts"):
        export_onnx(small(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_what_installs_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else installed(name))
    with pytest.raises(OptionError, match=rf"{package} is not installed.*pip install 'qdiag\[onnx\]'"):
        export_onnx(small(), tmp_path / "model.onnx")
