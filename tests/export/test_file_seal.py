"""An exported file carries a digest of what it holds: where a bit is another, a reader is told."""

import random
import warnings
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from qdiag.errors import InputError, QdiagError, QdiagWarning
from qdiag.export.export_onnx import export_onnx
from qdiag.export.tensor_names import tensor_names
from qdiag.loading.load_model import load_model
from qdiag.quantization.quantized_model import QuantizedModel
from tests.models import calibrate

IMAGES = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def quantized() -> QuantizedModel:
    return calibrate(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval(), IMAGES)


@pytest.fixture
def file(quantized: QuantizedModel, tmp_path: Path) -> Path:
    return export_onnx(quantized, tmp_path / "model.onnx", IMAGES).path


def test_a_file_as_it_was_written_is_read_without_a_word(file: Path, quantized: QuantizedModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(file)
        tensor_names(quantized, file)


def test_so_is_one_that_another_program_wrote_anew(file: Path) -> None:
    model = onnx.load(file)
    model.producer_name = "another"
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(file)


def test_one_weight_or_attribute_that_is_another_is_told(file: Path, quantized: QuantizedModel) -> None:
    whole = onnx.load(file)
    for name in ("0.weight", "2.bias"):
        model = onnx.ModelProto.FromString(whole.SerializeToString())
        (held,) = [one for one in model.graph.initializer if one.name == name]
        values = numpy_helper.to_array(held).copy()
        values.reshape(-1)[3] ^= 1
        held.CopyFrom(numpy_helper.from_array(values, name))
        onnx.save(model, file)
        with pytest.warns(QdiagWarning, match="does not hold what export_onnx wrote"):
            load_model(file)
        with pytest.warns(QdiagWarning, match="does not hold what export_onnx wrote"):
            tensor_names(quantized, file)


def test_no_flipped_bit_changes_the_network_without_a_word(file: Path) -> None:
    """Either the file is refused, or a warning comes, or the network is the same."""
    whole, told = file.read_bytes(), 0
    expected, rng = load_model(file)(IMAGES), random.Random(0)
    for _ in range(40):
        place, bit = rng.randrange(len(whole)), rng.randrange(8)
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                found = load_model(file)(IMAGES)
            except (QdiagError, InputError):
                told += 1
                continue
        told += bool(said)
        assert said or torch.equal(found, expected), f"bit {bit} of byte {place}"
    assert told > 0
