"""Files for a target load in a runtime as old as its tools ship, and give the same numbers and integers there."""

import os
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from qdiag.errors import InputError, ModelError, OptionError
from qdiag.export.engines.tidl import TidlEngine
from qdiag.export.export_onnx import export_onnx
from qdiag.export.export_target import export_target
from qdiag.export.integer_runtime import IntegerRuntime
from qdiag.export.runtime_session import runtime_session
from qdiag.export.verify import verify
from qdiag.quantization.quantized_model import QuantizedModel
from tests.export.checks import check_integers
from tests.export.test_opsets import IMAGES, Changed
from tests.models import Small, calibrate, settle

VERSIONS = [".".join(map(str, each.since)) for each in TidlEngine.file_versions if each.since > (0, 0)]
VERSIONS = ["8.6", *VERSIONS]

pytestmark = pytest.mark.xdist_group("old-runtime")  # one of them makes the environment


@pytest.fixture(scope="module")
def small() -> QuantizedModel:
    torch.manual_seed(0)
    return calibrate(settle(Small(), IMAGES), IMAGES)


@pytest.fixture(scope="module")
def changed() -> QuantizedModel:
    torch.manual_seed(0)
    return calibrate(settle(Changed(), IMAGES), IMAGES)


def outputs(path: Path, python: Path | None) -> list[np.ndarray]:
    with closing(runtime_session(path, path.with_suffix(".optimized.onnx"), python)) as session:
        return session.run([IMAGES[:1].numpy()])


@pytest.mark.parametrize("version", VERSIONS)
def test_files_for_every_version_give_the_same_outputs(
    version: str,
    changed: QuantizedModel,
    old_runtime: Path,
    tmp_path: Path,
) -> None:
    written = export_target(changed, tmp_path / "out", IMAGES[:1], version=version)
    there, here = (outputs(written.exported.path, python) for python in (old_runtime, None))
    assert len(there) == len(here) == 2
    for one, other in zip(there, here, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("opset", sorted({each.opset for each in TidlEngine.file_versions}))
def test_files_of_integers_give_the_same_integers(
    opset: int,
    small: QuantizedModel,
    old_runtime: Path,
    tmp_path: Path,
) -> None:
    exported = export_onnx(small, tmp_path / "model.onnx", IMAGES[:1], opset=opset, dynamic_batch=False)
    found = []
    for python in (old_runtime, None):
        with closing(IntegerRuntime(exported.path, exported.names.values(), python)) as runtime:
            found.append(runtime.run([IMAGES[:1]]))
    assert set(exported.names.values()) <= set(found[0])
    for name, integers in found[0].items():
        np.testing.assert_array_equal(integers, found[1][name], name)


def test_verify_runs_in_the_other_runtime_and_names_it(small: QuantizedModel, old_runtime: Path) -> None:
    verification = verify(small, IMAGES, images=2, runtime=old_runtime)
    check_integers(verification)
    assert verification.runtime == old_runtime.parents[1].name.removeprefix("onnxruntime-") != onnxruntime.__version__
    assert verification.integer_kernels > 0
    assert f"ONNX Runtime {verification.runtime}" in str(verification)


def test_the_runtime_of_this_python_agrees_with_itself(small: QuantizedModel) -> None:
    one, other = verify(small, IMAGES, images=2), verify(small, IMAGES, images=2, runtime=sys.executable)
    assert one == other


def test_a_newer_file_is_refused_in_the_runtime_s_own_words(old_runtime: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(ModelError, match="ONNX Runtime cannot run this network"):
        runtime_session(path, tmp_path / "optimized.onnx", old_runtime)


def test_inputs_of_another_shape_are_refused_and_the_session_goes_on(
    small: QuantizedModel,
    old_runtime: Path,
    tmp_path: Path,
) -> None:
    exported = export_onnx(small, tmp_path / "model.onnx", IMAGES[:1], dynamic_batch=False)
    with closing(runtime_session(exported.path, tmp_path / "optimized.onnx", old_runtime)) as session:
        with pytest.raises(InputError, match="cannot take these inputs"):
            session.run([IMAGES[:1, :, :5].numpy()])
        assert len(session.run([IMAGES[:1].numpy()])) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "cannot be started: No such file"),
        ("exit 3", "ended without an answer, with code 3"),
        (f"exec {sys.executable} -S -E $@", "has no ONNX Runtime|ended without an answer"),
    ],
)
def test_a_python_without_a_runtime_is_refused(
    lines: str | None, message: str, small: QuantizedModel, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    if lines is not None:
        python.write_text(f"#!/bin/sh\n{lines}\n")
        python.chmod(0o755)
    with pytest.raises(OptionError, match=message) as caught:
        verify(small, IMAGES, runtime=os.fspath(python))
    assert caught.value.code == "other-runtime"
