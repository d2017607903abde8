"""`compare_dump` names where a device first leaves the simulation, and takes nothing that it cannot read for equal."""

import dataclasses
import functools
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from qdiag.errors import InputError, SiteNotFound
from qdiag.export.compare_dump import compare_dump
from qdiag.export.device_errors import DumpComparison
from qdiag.export.dumps.dump import UnfitTensor
from qdiag.export.dumps.in_steps import in_steps
from qdiag.export.dumps.read_dump import read_dump
from qdiag.export.export_onnx import export_onnx
from qdiag.export.exported_model import ExportedModel
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType
from qdiag.numerics.ranges.range import Range
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.quantized_model import QuantizedModel
from tests.export.device import WRITERS, Array, Write, integers_of, write_npy, write_traces
from tests.export.test_verify import SITES, Net
from tests.models import calibrate, settle

IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
GIVEN = IMAGES[:1]
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


@pytest.fixture(scope="module")
def quantized() -> QuantizedModel:
    torch.manual_seed(0)
    return calibrate(settle(Net(), IMAGES), IMAGES, target="onnxruntime")


Compute = Callable[[QuantizedModel, Tensor], tuple[ExportedModel, dict[str, Array]]]


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Compute:
    @functools.cache
    def run(quantized: QuantizedModel, images: Tensor) -> tuple[ExportedModel, dict[str, Array]]:
        path = tmp_path_factory.mktemp("device") / "model.onnx"
        exported = export_onnx(quantized, path, images, dynamic_batch=False)
        return exported, integers_of(exported, images)

    return run


@dataclasses.dataclass(frozen=True)
class Device:
    """A folder in which it leaves its tensors."""

    folder: Path
    compute: Compute

    def run(self, quantized: QuantizedModel, write: Write = write_npy, images: Tensor = GIVEN) -> ExportedModel:
        exported, integers = self.compute(quantized, images)
        exponents = {exported.name(site): int(q.exponent) for site, q in quantized.formats.qparams.items()}
        write(integers, exponents, self.folder)
        return exported

    def file(self, site: str) -> Path:
        (found,) = self.folder.glob(f"{site} *.npy")
        return found


@pytest.fixture
def device(tmp_path: Path, compute: Compute) -> Device:
    (tmp_path / "dump").mkdir()
    return Device(tmp_path / "dump", compute)


def kinds(found: DumpComparison) -> list[tuple[str, str]]:
    return [(problem.kind, problem.name) for problem in found.problems]


@every_writer
def test_a_device_that_computes_the_same_passes(write: Write, quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized, write)
    found = compare_dump(quantized, GIVEN, device.folder)
    assert [site.agreement.site for site in found.sites] == SITES
    assert not found.problems
    assert found.passed
    assert found.exit_code == 0
    assert found.first_differing is None
    assert found.site("stem.0").agreement.values == 8 * 14 * 14
    assert found.site("stem.0").to_simulation_db == np.inf
    assert found.report().blocks[0].level == "ok"  # type: ignore[union-attr]


Change = Callable[[QuantizedModel], QuantizedModel]


def one_weight_more(site: str) -> Change:
    def change(quantized: QuantizedModel) -> QuantizedModel:
        layer = quantized.plan.layer(site)
        own = quantized.weights(layer)
        assert own is not None
        weight = own.weight.clone()
        weight.view(-1)[weight.abs().argmin()] += 2.0 ** (torch.ceil(torch.log2(weight.abs().max())) - 5)
        changed = {layer.site: LayerWeights(weight, own.bias, own.made_from)}
        return quantized.change(calibration=quantized.calibration.change(weights=changed))

    return change


@every_writer
@pytest.mark.parametrize("site", ["stem.0", "point.0"])
def test_a_device_with_one_other_weight_is_named(
    write: Write, site: str, quantized: QuantizedModel, device: Device
) -> None:
    device.run(one_weight_more(site)(quantized), write)
    found = compare_dump(quantized, GIVEN, device.folder)
    assert found.first_differing is not None
    assert found.first_differing.agreement.site == site
    assert all(x.agreement.equal == x.agreement.values for x in found.sites[: SITES.index(site)])
    assert f"leaves the simulation at `{site}`" in found.report().blocks[0].headline  # type: ignore[union-attr]


def test_a_device_that_rounds_otherwise_is_named_at_its_first_tie(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    half_up = calibrate(quantized.module, IMAGES, target="tidl")
    found = compare_dump(half_up, GIVEN, device.folder)
    assert found.first_differing is not None
    assert found.first_differing.agreement.site in SITES[1:]
    assert found.first_differing.agreement.largest == 1
    assert found.first_differing.agreement.off_by_one > 0


def test_distances_are_counted_in_steps_of_the_site(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    values = np.load(device.file("pool"))
    low = values.reshape(-1).astype(int) < 100
    values.reshape(-1)[np.flatnonzero(low)[:3]] += [1, 1, 7]
    np.save(device.file("pool"), values)
    found = compare_dump(quantized, GIVEN, device.folder)
    agreement = found.site("pool").agreement
    assert (agreement.values, agreement.off_by_one, agreement.off_by_more, agreement.largest) == (8, 2, 1, 7)
    assert not found.passed
    assert found.first_differing is found.site("pool")


def test_sqnr_stands_beside_float_16_and_8_bits(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    found = compare_dump(quantized, GIVEN, device.folder)
    with torch.no_grad():
        reference = quantized.module(GIVEN)
    error = (quantized(GIVEN) - reference).square().sum()
    head = found.site("head").sqnr_db
    assert list(head) == ["16-bit", "8-bit", "device"]
    assert (
        head["8-bit"]
        == head["device"]
        == pytest.approx(float(10 * torch.log10(reference.square().sum() / error)), abs=1e-3)
    )
    sixteen, eight = head["16-bit"], head["8-bit"]
    assert sixteen is not None
    assert eight is not None
    assert sixteen > eight + 30
    assert {"16-bit_sqnr_db", "8-bit_sqnr_db", "device_sqnr_db"} <= set(found.to_pandas())


def test_sqnr_of_the_device_against_the_simulation_by_hand(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    values = np.load(device.file("pool"))
    power = float((values.astype(float) ** 2).sum())
    np.save(device.file("pool"), np.where(values > 0, values - 1, values + 1).astype(values.dtype))
    found = compare_dump(quantized, GIVEN, device.folder)
    assert found.site("pool").to_simulation_db == pytest.approx(10 * np.log10(power / values.size), abs=1e-4)


def test_equalized_channels_are_compared_at_the_targets_scale(device: Device) -> None:
    torch.manual_seed(0)
    net = settle(Net(), IMAGES)
    state = net.state_dict()
    spread = 2.0 ** torch.arange(-3, 5)
    for name in ("depthwise.1.weight", "depthwise.1.bias"):
        state[name].mul_(spread)
    state["point.0.weight"].div_(spread.reshape(1, -1, 1, 1))
    quantized = calibrate(net, IMAGES, method=["equalization", "bias-correction"], target="onnxruntime")
    assert any(bool(shift.any()) for shift in quantized.calibration.shifts.values())
    device.run(quantized, write_traces)
    assert compare_dump(quantized, GIVEN, device.folder).passed


def test_mixed_precision_reads_each_width(device: Device) -> None:
    torch.manual_seed(0)
    quantized = calibrate(settle(Net(), IMAGES), IMAGES, bits={"head": 16, "*": 8}, target="onnxruntime")
    device.run(quantized, write_traces)
    found = compare_dump(quantized, GIVEN, device.folder)
    assert found.site("head").agreement.format.startswith("int16")
    assert found.passed
    assert found.simulation == "mixed"


# What cannot be compared -------------------------------------------------------------------------------


def test_a_missing_tensor_is_a_problem(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    device.file("pool").unlink()
    found = compare_dump(quantized, GIVEN, device.folder)
    assert kinds(found) == [("missing", "pool")]
    assert not found.passed
    assert found.exit_code == 1
    with pytest.raises(SiteNotFound, match="nothing was compared at 'pool'"):
        found.site("pool")


def test_a_tensor_of_another_name_is_a_problem(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    np.save(device.folder / "relu_7.npy", np.zeros(3, np.uint8))
    found = compare_dump(quantized, GIVEN, device.folder)
    assert kinds(found) == [("unmatched", "relu_7.npy")]
    assert not found.passed
    assert len(found.sites) == len(SITES)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.zeros((1, 8, 13, 14), np.uint8), "mis-sized"),
        (np.zeros((1, 14, 14, 8), np.uint8), "mis-sized"),
        (np.full((1, 8, 14, 14), -1, np.int8), "wrong type"),
        (np.full((1, 8, 14, 14), 300, np.int32), "wrong type"),
        (np.full((1, 8, 14, 14), np.nan, np.float32), "wrong type"),
        (np.zeros((1, 8, 14, 14), np.complex64), "wrong type"),
    ],
)
def test_a_tensor_of_another_size_or_type_is_a_problem(
    values: Any, kind: str, quantized: QuantizedModel, device: Device
) -> None:
    device.run(quantized)
    file = device.file("stem.0")
    np.save(file, values)
    found = compare_dump(quantized, GIVEN, device.folder)
    assert (kind, file.name) in kinds(found)
    assert "stem.0" not in [site.agreement.site for site in found.sites]
    assert not found.passed


def test_traces_cut_short_or_of_another_width_are_problems(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized, write_traces)
    stem, depthwise, point = (
        device.folder / f"tidl_trace{n}_00001_00008_00014x00014.y" for n in ("0041", "0042", "0043")
    )
    stem.write_bytes(stem.read_bytes()[:-1])
    depthwise.write_bytes(depthwise.read_bytes() * 2)
    (device.folder / f"{point.stem}_float.bin").write_bytes(b"\0" * 4)
    found = compare_dump(quantized, GIVEN, device.folder)
    assert sorted(kind for kind, _ in kinds(found)) == ["mis-sized", "mis-sized", "wrong type"]
    assert "holds 1567 bytes" in found.to_json()


def test_traces_without_their_table_are_problems(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized, write_traces)
    next(device.folder.glob("*layer_info.txt")).unlink()
    found = compare_dump(quantized, GIVEN, device.folder)
    assert not found.sites
    assert {kind for kind, _ in kinds(found)} == {"unmatched", "missing"}
    assert "copy the one of the compiled artifacts" in found.to_json()
    assert found.report().blocks[0].headline == "Nothing could be compared."  # type: ignore[union-attr]


def test_one_cores_part_of_a_layer_is_no_layer(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized, write_traces)
    trace = next(device.folder.glob("*.y"))
    shutil.copy(trace, device.folder / f"C7x_1_{trace.name}")
    assert kinds(compare_dump(quantized, GIVEN, device.folder)) == [("unmatched", f"C7x_1_{trace.name}")]


def test_a_device_with_another_scale_is_told_by_integers_and_floats_together(
    quantized: QuantizedModel, device: Device
) -> None:
    site = quantized.plan.layer("point.0").site
    ends = quantized.calibration.ranges[site]
    wider = {site: Range(2 * ends.low, 2 * ends.high)}
    device.run(quantized.change(calibration=quantized.calibration.change(ranges=wider)), write_traces)
    found = compare_dump(quantized, GIVEN, device.folder)
    (problem,) = found.problems
    assert problem.kind == "another scale"
    assert problem.name.startswith("tidl_trace0043")
    assert "a step is worth" in problem.text


def test_a_tensor_that_is_there_twice_is_a_problem(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    np.save(device.folder / "pool.npy", np.load(device.file("pool")))
    (problem,) = compare_dump(quantized, GIVEN, device.folder).problems
    assert problem.kind == "twice"
    assert device.file("pool").name in problem.text
    assert "pool.npy" in problem.text


def test_damaged_files_are_problems(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    (device.folder / "a.npy").write_bytes(b"nothing of the kind")
    (device.folder / "b.npz").write_bytes(b"nothing of the kind")
    assert kinds(compare_dump(quantized, GIVEN, device.folder)) == [("unreadable", "a.npy"), ("unreadable", "b.npz")]


def test_other_images_than_the_devices_do_not_pass(quantized: QuantizedModel, device: Device) -> None:
    device.run(quantized)
    found = compare_dump(quantized, IMAGES[1:2], device.folder)
    assert found.first_differing is found.site(":input")
    assert not compare_dump(quantized, IMAGES[:2], device.folder).sites


def test_names_of_the_onnx_file_are_known_with_it(quantized: QuantizedModel, device: Device) -> None:
    exported = device.run(quantized)
    device.file("head").rename(device.folder / "output.npy")
    device.file(":input").rename(device.folder / "input.npy")
    assert {kind for kind, _ in kinds(compare_dump(quantized, GIVEN, device.folder))} == {"unmatched", "missing"}
    assert compare_dump(quantized, GIVEN, device.folder, onnx_file=exported.path).passed
    clips = export_onnx(quantized, device.folder.with_name("clips.onnx"), GIVEN, style="clips").path
    assert compare_dump(quantized, GIVEN, device.folder, onnx_file=clips).passed


def test_tensors_of_the_file_that_the_simulation_does_not_store_are_listed(
    quantized: QuantizedModel, device: Device
) -> None:
    exported = device.run(quantized)
    (reshaped,) = [node.output[0] for node in onnx.load(exported.path).graph.node if node.op_type == "Reshape"]
    np.save(device.folder / f"{reshaped}.npy", np.zeros(8, np.float32))
    found = compare_dump(quantized, GIVEN, device.folder, onnx_file=exported.path)
    assert found.beside == (f"{reshaped}.npy",)
    assert found.passed
    assert not compare_dump(quantized, GIVEN, device.folder).passed


def test_a_folder_or_a_file_that_is_none_is_refused(quantized: QuantizedModel, device: Device, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        compare_dump(quantized, GIVEN, tmp_path / "nowhere")
    with pytest.raises(InputError, match="no dumped tensor in"):
        compare_dump(quantized, GIVEN, device.folder)
    device.run(quantized)
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("nowhere.onnx", "text.onnx"):
        with pytest.raises(InputError, match="cannot be read as an ONNX file"):
            compare_dump(quantized, GIVEN, device.folder, onnx_file=tmp_path / name)
    with pytest.raises(InputError, match="holds NaN"):
        compare_dump(quantized, torch.full((1, 3, 16, 16), torch.nan), device.folder)
    with pytest.raises(InputError, match="hold no tensor"):
        compare_dump(quantized, {}, device.folder)


def _write_npz(path: Path, shape: tuple[int, ...], content: bytes) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + content)


def test_no_array_is_made_for_a_header_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    _write_npz(tmp_path / "huge.npz", (4_000_000_000_000,), b"few")
    dump = read_dump(tmp_path)
    assert not dump.tensors
    assert [(problem.kind, problem.name) for problem in dump.problems] == [("unreadable", "huge.npz")]


def test_an_array_of_another_shape_is_refused_unread(tmp_path: Path) -> None:
    _write_npz(tmp_path / "bomb.npz", (1_000_000,), bytes(4_000_000))
    dump = read_dump(tmp_path)
    unreadable = dataclasses.replace(dump.tensors[0], load=lambda _: pytest.fail("it was unpacked"))
    with pytest.raises(UnfitTensor, match="is \\[1000000\\]"):
        in_steps([unreadable], QParams(QType(8, signed=True), -1), (1, 8))


def test_an_array_that_does_not_match_its_check_sum_is_a_problem_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "flipped.npz"
    _write_npz(path, (100_000,), bytes(400_000))
    content = bytearray(path.read_bytes())
    content[200_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnfitTensor, match="CRC"):
        read_dump(tmp_path).tensors[0].load(QType(8, signed=True))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("name", ["0.npy", "a.npz", "tidl_trace_0001_00001_00001_00008x00012.y"])
def test_a_pipe_among_the_tensors_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert [(problem.kind, problem.name) for problem in read_dump(tmp_path).problems] == [("unreadable", name)]
