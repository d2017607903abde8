"""A run that is killed, stopped or out of disk goes on from its checkpoint to the weights of an unbroken one."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from qdiag.errors import InputError, OptionError, QdiagWarning
from qdiag.progress import Progress, Stopped
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from tests.training.nets import equal, images, images_and_labels, loader, net, same

RECIPE = Recipe(epochs=3, learning_rate=0.01, warmup=0.1, clip_norm=5.0)
EPOCH = 6  # steps


def quantized() -> nn.Module:
    return QuantTrainModule(net(), images())


def calibrated() -> nn.Module:
    found = calibrate(net(), images(), "simple", on_progress=lambda _: None)
    return QuantTrainModule.from_calibrated(found, learn_thresholds=True)


KINDS = pytest.mark.parametrize("make", [net, quantized, calibrated])


def do_at(step: int, act: Callable[[], object]) -> Callable[[Progress], None]:
    """At the run's step of that number, from 1."""
    seen = 0

    def heard(progress: Progress) -> None:
        nonlocal seen
        seen += progress.label.startswith("epoch")
        if seen == step and progress.label.startswith("epoch"):
            act()

    return heard


def stop() -> None:
    raise Stopped


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


SCRIPT = """
import os, random, signal, sys, time
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from tests.training.nets import images, loader, net

def run(folder):
    model = net(32)
    if sys.argv[2] == "quantized":
        model = QuantTrainModule(model, images())
    recipe = Recipe(epochs=8, learning_rate=0.01)
    train(model, loader(), recipe, output=folder, resume=True, checkpoint_seconds=0.01, on_progress=lambda _: None)

folder = sys.argv[1]
start = time.monotonic()
run(folder + "/unbroken")
whole = time.monotonic() - start
draws = random.Random(7)
for moment in range(5):
    child = os.fork()
    if not child:
        run(folder + "/killed")
        os._exit(0)
    time.sleep(draws.uniform(0.03, 0.19) * whole)
    os.kill(child, signal.SIGKILL)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]))
run(folder + "/killed")
"""


@pytest.mark.training
@pytest.mark.parametrize("kind", ["float", "quantized"])
def test_killed_at_any_moment_it_ends_at_the_same_weights(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["9"] * 5, done.stderr
    assert done.returncode == 0, done.stderr
    unbroken, killed = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("unbroken", "killed"))
    assert same(killed, unbroken)
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("unbroken", "killed")]
    assert histories[0] == histories[1]
    assert not list((tmp_path / "killed").glob(".*"))  # drafts of those that were killed


@pytest.mark.training
@KINDS
@pytest.mark.parametrize("act", [stop, press_ctrl_c])
@pytest.mark.parametrize("step", [1, EPOCH - 1, EPOCH, 2 * EPOCH + 3])
def test_stopped_it_has_written_a_checkpoint_and_goes_on(
    make: Callable[[], nn.Module], act: Callable[[], object], step: int, tmp_path: Path
) -> None:
    unbroken, stopped, resumed, loaders = make(), make(), make(), (loader(), images_and_labels())
    expected = train(unbroken, loaders, RECIPE, formats=())
    with pytest.raises((Stopped, KeyboardInterrupt)):
        train(stopped, loaders, RECIPE, formats=(), output=tmp_path, on_progress=do_at(step, act))
    found = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert found["epoch"] * EPOCH + found["step"] == step
    result = train(resumed, loaders, RECIPE, formats=(), output=tmp_path, resume=True)
    assert equal(resumed, unbroken)
    assert result.to_json() == expected.to_json()


@pytest.mark.training
def test_a_ctrl_c_within_a_step_waits_for_its_end(tmp_path: Path) -> None:
    """Pressed in a loss function: then weights and position would not belong together."""
    presses = 0

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal presses
        presses += 1
        if presses == 5:  # the first is the check before the run
            press_ctrl_c()
        return nn.functional.cross_entropy(outputs, labels)

    with pytest.raises(KeyboardInterrupt):
        train(net(), loader(), Recipe(loss=loss), output=tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextmanager
def full_disk(kilobytes: int = 4) -> Iterator[None]:
    """No file may grow beyond this, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.training
@KINDS
def test_with_a_full_disk_the_checkpoint_before_survives(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    unbroken, stopped, resumed = make(), make(), make()
    train(unbroken, loader(), RECIPE)
    with pytest.raises(Stopped):
        train(stopped, loader(), RECIPE, output=tmp_path, on_progress=do_at(EPOCH + 2, stop))
    with (
        full_disk(),
        pytest.warns(QdiagWarning, match=r"checkpoint\.pt was not written"),
        pytest.raises(OptionError, match=r"(?s)model\.pt.*cannot-write"),
    ):
        train(make(), loader(), RECIPE, output=tmp_path, resume=True, checkpoint_seconds=0)
    found = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (found["epoch"], found["step"]) == (1, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "history.csv"]
    train(resumed, loader(), RECIPE, output=tmp_path, resume=True)
    assert equal(resumed, unbroken)


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    model = net()
    with pytest.raises(OptionError, match="cannot-write"):
        train(model, loader(), RECIPE, output=tmp_path / "file" / "run", on_progress=do_at(1, stop))
    assert equal(model, net())


@pytest.mark.training
def test_an_earlier_run_is_neither_written_over_nor_taken_for_another(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(net(), loader(), RECIPE, output=tmp_path, on_progress=do_at(2, stop))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(OptionError, match="folder-taken"):
        train(net(), loader(), RECIPE, output=tmp_path)
    with pytest.raises(OptionError, match=r"(?s)epochs was 3, is 4.*other-run"):
        train(net(), loader(), replace(RECIPE, epochs=4), output=tmp_path, resume=True)
    with pytest.raises(OptionError, match=r"(?s)model was Sequential.*other-run"):
        train(net(16), loader(), RECIPE, output=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_text("notes")
    with pytest.raises(InputError, match="unreadable-file"):
        train(net(), loader(), RECIPE, output=tmp_path, resume=True)
    assert (tmp_path / "checkpoint.pt").read_text() == "notes"


@pytest.mark.training
def test_a_teacher_of_its_own_is_the_one_from_the_beginning(tmp_path: Path) -> None:
    """Without labels: the weights that a resumed run is given are not those it set out from."""
    data = torch.randn(48, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    recipe = Recipe(epochs=2, batch_size=8, learning_rate=0.01)
    unbroken, resumed = quantized(), QuantTrainModule(net().requires_grad_(True), images())
    train(unbroken, data, recipe)
    with pytest.raises(Stopped):
        train(quantized(), data, recipe, output=tmp_path, on_progress=do_at(7, stop))
    with torch.no_grad():
        next(resumed.parameters()).add_(1)
    train(resumed, data, recipe, output=tmp_path, resume=True)
    assert equal(resumed, unbroken)
