"""Files of older opsets: the same outputs, and refused where there is no way."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.errors import ModelError, OptionError
from qdiag.export import file_check
from qdiag.export.engines.engine import ENGINES
from qdiag.export.engines.file_versions import file_version
from qdiag.export.engines.tidl import TidlEngine
from qdiag.export.export_onnx import export_onnx
from qdiag.export.export_target import export_target
from qdiag.export.lower_opset import ir_version
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs
from tests.export.checks import run_file
from tests.models import Small, calibrate, settle

IMAGES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Changed(nn.Module):
    """Operators that later opsets changed, or brought."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm(8), nn.Linear(8, 5)
        self.mish, self.up = nn.Mish(), nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        one, two = self.mish(self.conv(x)).chunk(2, 1)
        x = F.pad(self.up(torch.cat([F.hardswish(one), F.gelu(two)], 1)), (1, 1, 1, 1))
        x = self.norm(x.permute(0, 2, 3, 1))
        return F.softmax(self.head(x.amax((1, 2))), -1), x.reshape(x.shape[0], -1).square().sum(1, keepdim=True)


def quantized(model: nn.Module, **options: Any) -> QuantizedModel:
    torch.manual_seed(0)
    return calibrate(settle(model, IMAGES), IMAGES, **options)


@pytest.fixture(scope="module")
def changed() -> QuantizedModel:
    torch.manual_seed(0)
    return quantized(Changed())


@pytest.mark.parametrize(("opset", "ir"), [(11, 6), (13, 7), (16, 8)])
def test_older_opsets_give_the_same_outputs_for_any_number_of_images(
    opset: int, ir: int, changed: QuantizedModel, tmp_path: Path
) -> None:
    newest = export_onnx(changed, tmp_path / "newest.onnx", IMAGES[:1], style="clips")
    exported = export_onnx(changed, tmp_path / "older.onnx", IMAGES[:1], style="clips", opset=opset)
    file = onnx.load(exported.path)
    assert (file.opset_import[0].version, file.ir_version) == (opset, ir)
    for one, other in zip(*(run_file(each.path, Inputs(IMAGES)) for each in (newest, exported)), strict=True):
        torch.testing.assert_close(torch.tensor(one), torch.tensor(other), rtol=1e-3, atol=1e-5)


def test_stored_tensors_keep_their_names_in_an_older_opset(changed: QuantizedModel, tmp_path: Path) -> None:
    exported = export_onnx(changed, tmp_path / "older.onnx", opset=13)
    file = onnx.load(exported.path)
    assert set(exported.names.values()) <= {name for node in file.graph.node for name in node.output}
    (names,) = [entry.value for entry in file.metadata_props if entry.key == "qdiag.names"]
    assert json.loads(names) == exported.names


def test_scales_for_each_channel_want_opset_13(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="came with opset 13"):
        export_onnx(quantized(Small(), per_channel="all"), tmp_path / "model.onnx", opset=12)


class Grid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.grid_sample(x, torch.zeros(x.shape[0], 2, 2, 2), align_corners=False)


def test_an_operator_that_the_opset_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"opset=13 cannot hold GridSample .* came with opset \d+"):
        export_onnx(quantized(Grid()), tmp_path / "model.onnx", style="clips", opset=13, dynamic_batch=False)
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_something_else_does_not_take_its_place(
    changed: QuantizedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(file_check.CLOSE, "clips", -1.0)
    with pytest.raises(ModelError, match="gives other outputs"):
        export_onnx(changed, tmp_path / "model.onnx", style="clips", opset=13)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("version", "opset", "ir"), [("8.6", 11, 6), ("9.2", 18, 8), ("11.0", 18, 8)])
def test_a_target_gets_the_opset_that_its_runtime_reads(version: str, opset: int, ir: int, tmp_path: Path) -> None:
    exported = export_target(quantized(Small()), tmp_path / "out", version=version)
    file = onnx.load(exported.exported.path)
    assert (exported.exported.opset, file.opset_import[0].version, file.ir_version) == (opset, opset, ir)
    assert f"opset {opset}, IR {ir}" in " ".join((tmp_path / "out" / "README.txt").read_text().split())


def test_no_version_of_a_target_gets_more_than_it_reads() -> None:
    for engine in ENGINES:
        for each in engine.file_versions:
            assert each.opset <= each.newest_opset
            assert ir_version(each.opset) <= each.newest_ir <= 9


def test_the_runtime_of_a_version_is_that_of_the_last_change_before_it() -> None:
    readers = {v: file_version(TidlEngine.file_versions, v).reader[-4:] for v in ((9, 0), (9, 1), (10, 0), (11, 2))}  # type: ignore[union-attr]
    assert list(readers.values()) == [" 1.7", "1.14", "1.14", "1.15"]
