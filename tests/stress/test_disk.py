"""Full disks, folders that nobody can write to, two processes at one file: what was there stays, or is whole."""

import os
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from qdiag.cli.app import app
from qdiag.comparison.compare import compare
from qdiag.errors import OptionError, QdiagError, QdiagWarning
from qdiag.export.export_onnx import export_onnx
from qdiag.export.export_target import export_target
from qdiag.quantization.calibrate import calibrate
from qdiag.tensor_files import read_tensors, write_tensors
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from qdiag.workbench.session import Session

IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    images = torch.randn(8, 3, 8, 8)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 8)), images
"""


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 8)).eval()


def _command(*words: str) -> Callable[[Path], object]:
    def run(folder: Path) -> None:
        arguments = [word.replace("FOLDER", str(folder)) for word in words]
        done = CliRunner().invoke(app, [words[0], f"{folder.parent}/model.py:build", *arguments[1:]])
        if done.exit_code == 2 and "cannot-write" in done.stderr:
            raise OptionError(done.stderr, code="cannot-write")
        assert done.exit_code == 0, done.output

    return run


def _session(folder: Path) -> None:
    Session(net(), [IMAGES], calibration_data=IMAGES, folder=folder).calibrate("simple")


WRITERS: dict[str, Callable[[Path], object]] = {
    "calibrate(checkpoint=…)": lambda folder: calibrate(net(), IMAGES, ["gptq"], checkpoint=folder / "run.pt"),
    "qdiag calibrate --save": _command("calibrate", "--method", "simple", "--save", "FOLDER/calibrated.pt"),
    "qdiag compare --csv": _command("compare", "--csv", "FOLDER/layers.csv"),
    "train(output=…)": lambda folder: train(
        net(), [(IMAGES, torch.arange(8))], Recipe(epochs=1), output=folder / "run"
    ),
    "export_onnx": lambda folder: export_onnx(calibrate(net(), IMAGES, "simple"), folder / "net.onnx"),
    "export_target": lambda folder: export_target(
        calibrate(net(), IMAGES, "simple"), folder, IMAGES[:1], version="9.2"
    ),
    "to_html": lambda folder: compare(net(), IMAGES).to_html(folder / "page.html"),
    "a session": _session,
}
SAID, FINISHED, OTHER = 0, 1, 2


def limited(write: Callable[[Path], object], folder: Path, size: int) -> int:
    """In a process that may write files of so many bytes alone: whether that was said, in our words."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            write(folder)
            code = SAID if any(issubclass(one.category, QdiagWarning) for one in told) else FINISHED
        except QdiagError:
            code = SAID
        except BaseException:  # noqa: BLE001 - whatever it is, it is not ours
            traceback.print_exc()
            code = OTHER
    os._exit(code)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_and_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "model.py").write_text(MODEL)
    earlier = {"run.pt", "calibrated.pt", "layers.csv", "net.onnx", "page.html", "model.onnx"}
    if name != "calibrate(checkpoint=…)":  # which would go on from it
        for file in earlier:
            (folder / file).write_bytes(b"of before")
    before = contents(folder)
    assert limited(WRITERS[name], folder, 100) == SAID
    after = contents(folder)
    assert {file: after[file] for file in before} == before
    assert not [file for file in after if file.endswith(".tmp")]


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.startswith("qdiag")])
def test_a_folder_that_nobody_can_write_to_is_told(name: str) -> None:
    """/proc takes no files, from whomever they come."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            WRITERS[name](Path("/proc/self/fdinfo"))
        except OptionError as error:
            assert error.code == "cannot-write"  # noqa: PT017
            return
    assert any(issubclass(one.category, QdiagWarning) and "not" in str(one.message) for one in told)


def test_two_processes_at_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    children = [_writes(path, number) for number in (1, 2)]
    seen: set[int] = set()
    until = time.monotonic() + 30
    while len(seen) < 2 and time.monotonic() < until:
        if path.exists():
            found = read_tensors(path, "state", ("number", "tensor"))
            assert torch.equal(found["tensor"], _tensor(found["number"]))
            seen.add(found["number"])
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert seen == {1, 2}


def _writes(path: Path, number: int) -> int:
    child = os.fork()
    if not child:
        while True:
            write_tensors(path, {"number": number, "tensor": _tensor(number)}, "")
    return child


def _tensor(number: int) -> Tensor:
    return torch.full((50_000,), float(number))
