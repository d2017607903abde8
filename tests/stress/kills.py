"""Work that is killed with SIGKILL at a moment of its own: what is left is whole, and what goes on ends the same."""

import functools
import os
import random
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.errors import QdiagError
from qdiag.export.export_target import export_target
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tensor_files import read_tensors, write_tensors
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from qdiag.workbench.session import Session
from tests.models import settle
from tests.stress.files import same

IMAGES = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(2))
WAY = ("equalization", "range-search", "gptq", "bias-correction")
RECIPE = Recipe(epochs=4, batch_size=4)


@dataclass(frozen=True)
class Work:
    """Work that writes into a folder. run: all of it, from wherever it was left. look: what is left after a kill.

    look: raises AssertionError for a file that is taken for whole, and is not.
    """

    name: str
    run: Callable[[Path], Any]
    look: Callable[[Path], None]


def net(width: int = 4) -> nn.Module:
    """The same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = (nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 3, 3), nn.Flatten())
        return settle(nn.Sequential(*layers, nn.Linear(192, 3)), IMAGES).eval()


def _calibrate(folder: Path) -> Any:
    found = calibrate(net(), IMAGES, WAY * 3, checkpoint=folder / "run.pt", on_progress=_quiet)
    return found(IMAGES), found.get_extra_state()


def _train(folder: Path) -> Any:
    module = QuantTrainModule.from_calibrated(calibrate(net(), IMAGES, "simple", on_progress=_quiet))
    train(module, IMAGES, RECIPE, output=folder, resume=True, checkpoint_seconds=0.0, on_progress=_quiet)
    return module.eval()(IMAGES), read_tensors(folder / "model.pt", "model"), (folder / "history.csv").read_text()


def _session(folder: Path) -> Any:
    """Goes on with what an earlier process has kept, and makes what is missing."""
    session = Session(net(), [IMAGES], calibration_data=IMAGES, folder=folder)
    if session.earlier:
        session.restore(on_progress=_quiet)
    for name, method in (("simple", "simple"), ("once", WAY), ("twice", WAY * 2)):
        if len(session.history) < {"simple": 1, "once": 2, "twice": 3}[name]:
            session.calibrate(method, on_progress=_quiet)
    return [(one.parent, one.code, one.quantized(IMAGES)) for one in session.history.values()]


def _export(folder: Path) -> Any:
    """In the place of files from earlier, which have other ranges."""
    if not list(folder.iterdir()):
        for name, contents in _files_of(4.0).items():
            (folder / name).write_bytes(contents)
    found = calibrate(net(), IMAGES, "simple", on_progress=_quiet)
    export_target(found, folder, IMAGES[:1], version="9.2")
    return _contents(folder)


@functools.cache
def _files_of(scale: float) -> dict[str, bytes]:
    """By name, for images so much larger."""
    with tempfile.TemporaryDirectory() as folder:
        found = calibrate(net(), IMAGES * scale, "simple", on_progress=_quiet)
        export_target(found, folder, IMAGES[:1], version="9.2")
        return _contents(Path(folder))


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _save(folder: Path) -> Any:
    """One large file, over and over."""
    for number in range(6):
        write_tensors(folder / "state.pt", {"number": number, "tensor": torch.full((400_000,), float(number))}, "")
    return read_tensors(folder / "state.pt", "state")


def _whole_tensors(folder: Path) -> None:
    for path in folder.rglob("*.pt"):
        if not path.name.startswith("."):
            try:
                read_tensors(path, "file")
            except QdiagError as error:
                raise AssertionError(f"{path.name} is not whole: {error}") from error


def _whole_state(folder: Path) -> None:
    _whole_tensors(folder)
    if (folder / "state.pt").exists():
        found = read_tensors(folder / "state.pt", "state", ("number", "tensor"))
        assert torch.equal(found["tensor"], torch.full((400_000,), float(found["number"]))), (
            "half of one, half of another"
        )


def _whole_export(folder: Path) -> None:
    """Settings are what a reader begins with: where they are, network and ranges belong together."""
    found = _contents(folder)
    if "onnxruntime_options.json" not in found:
        return
    together = [(files["model.onnx"], files["ranges.prototxt"]) for files in map(_files_of, (1.0, 4.0))]
    assert together[0][1] != together[1][1], "other ranges"
    assert (found["model.onnx"], found["ranges.prototxt"]) in together, "half of these files, half of those"


WORKS = (
    Work("calibrate, with a checkpoint", _calibrate, _whole_tensors),
    Work("train", _train, _whole_tensors),
    Work("a session of the workbench", _session, _whole_tensors),
    Work("export_target", _export, _whole_export),
    Work("files written over and over", _save, _whole_state),
)


@dataclass(frozen=True)
class Measured:
    """Work with what it comes to where nobody kills it, and the seconds it takes."""

    work: Work
    expected: Any
    seconds: float


def measured(work: Work, folder: Path) -> Measured:
    """Run twice: the first run loads what the second has."""
    for name in ("first", "second"):
        (folder / name).mkdir()
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = work.run(folder / name)
    return Measured(work, expected, time.perf_counter() - begun)


def kill(measured: Measured, seed: int, folder: Path, times: int = 3) -> str:
    """Kill it a few times in a row, each time where it went on; then let it end.

    Returns how often it died. Raises AssertionError for what is lost, and for what is taken for whole.
    """
    draws, place = random.Random(seed), folder / str(seed)
    place.mkdir()
    died = 0
    for _ in range(times):
        died += _killed(measured, place, draws.uniform(0.02, 1.0) * measured.seconds)
        measured.work.look(place)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = measured.work.run(place)
    assert same(found, measured.expected), f"{measured.work.name}, seed {seed}: it ended at something else"
    left = [path.name for path in place.rglob(".*.tmp") if path.name.count(f".{os.getpid()}.")]
    assert not left, f"{measured.work.name}, seed {seed}: drafts are left: {left}"
    shutil.rmtree(place)
    return f"killed {died} times"


def _killed(measured: Measured, place: Path, seconds: float) -> bool:
    """True where it died, and was not done before."""
    child = os.fork()
    if not child:
        try:
            warnings.simplefilter("ignore")
            measured.work.run(place)
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _quiet(_: Any) -> None:
    pass
