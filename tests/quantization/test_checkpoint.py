"""A calibration that is stopped or killed goes on from its checkpoint."""

import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import InputError, OptionError, QdiagWarning
from qdiag.progress import Progress, Steps, Stopped, report, run
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.calibration_report import calibration_report
from qdiag.quantization.deadline import Deadline
from qdiag.quantization.techniques.bias_correction import BiasCorrection
from qdiag.quantization.techniques.equalization import Equalization
from tests.models import settle

WAY = ("equalization", "range-search", "gptq", "bias-correction")


@pytest.fixture
def images() -> Tensor:
    return torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model(images: Tensor) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return settle(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3)), images).eval()


def stop_in(label: str) -> Callable[[Progress], None]:
    def heard(progress: Progress) -> None:
        if progress.label == label:
            raise Stopped

    return heard


def test_what_was_stopped_goes_on_and_ends_at_the_same_model(
    model: nn.Module, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = calibrate(model, images, WAY)
    with pytest.raises(Stopped):
        calibrate(model, images, WAY, checkpoint=tmp_path / "run.pt", on_progress=stop_in("correcting biases"))
    monkeypatch.setattr(Equalization, "steps", None)  # done before the stop: not once more
    resumed = calibrate(model, images, WAY, checkpoint=tmp_path / "run.pt")
    assert torch.equal(resumed(images), unbroken(images))
    assert calibration_report(resumed).to_json() == calibration_report(unbroken).to_json()
    monkeypatch.setattr(BiasCorrection, "steps", None)
    finished = calibrate(model, images, WAY, checkpoint=tmp_path / "run.pt")
    assert torch.equal(finished(images), unbroken(images))


def test_another_run_s_checkpoint_is_refused(model: nn.Module, images: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    calibrate(model, images, WAY, checkpoint=file)
    other = copy.deepcopy(model)
    other.state_dict()["0.weight"][0, 0, 0, 0] += 1
    with pytest.raises(OptionError, match=r"(?s)other model.*other-run"):
        calibrate(other, images, WAY, checkpoint=file)
    with pytest.raises(OptionError, match="other formats and techniques"):
        calibrate(model, images, "advanced", bits=6, checkpoint=file)
    with pytest.raises(OptionError, match="other data"):
        calibrate(model, images + 1, WAY, checkpoint=file)


def test_the_same_numbers_in_another_order_are_another_run(model: nn.Module, images: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    whole = (images * 16).round() / 16  # sums of these are exact: the same in whatever order
    calibrate(model, whole, WAY, checkpoint=file)
    with pytest.raises(OptionError, match="other data"):
        calibrate(model, whole.flip(1), WAY, checkpoint=file)
    with pytest.raises(OptionError, match="other data"):
        calibrate(model, whole.flip(0), WAY, checkpoint=file)
    turned = copy.deepcopy(model)
    turned.load_state_dict(model.state_dict() | {"0.weight": model.state_dict()["0.weight"].flip(1)})
    with pytest.raises(OptionError, match="other model"):
        calibrate(turned, whole, WAY, checkpoint=file)


def test_a_file_of_another_kind_is_refused_and_left_alone(model: nn.Module, images: Tensor, tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    file.write_text("notes")
    with pytest.raises(InputError, match="unreadable-file"):
        calibrate(model, images, WAY, checkpoint=file)
    assert file.read_text() == "notes"


def test_a_checkpoint_that_cannot_be_written_warns_and_the_run_goes_on(
    model: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    with pytest.warns(QdiagWarning, match=r"run\.pt was not written"):
        found = calibrate(model, images, WAY, checkpoint=tmp_path / "missing" / "run.pt")
    assert torch.equal(found(images), calibrate(model, images, WAY)(images))


SCRIPT = """
import sys, torch
from torch import nn
from qdiag import calibrate
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3)).eval()
images = torch.randn(16, 3, 12, 12)
print("ready", flush=True)
found = calibrate(model, images, sys.argv[2:], checkpoint=sys.argv[1] or None)
print(found(images).double().sum().item())
"""


def test_what_was_killed_goes_on_and_ends_at_the_same_model(tmp_path: Path) -> None:
    way = WAY * 8
    command = [sys.executable, "-c", SCRIPT]
    unbroken = subprocess.run([*command, "", *way], capture_output=True, text=True, check=True).stdout
    for moment in (0.1, 0.5):
        process = subprocess.Popen([*command, str(tmp_path / "run.pt"), *way], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    resumed = subprocess.run([*command, str(tmp_path / "run.pt"), *way], capture_output=True, text=True, check=True)
    assert resumed.stdout == unbroken
    assert torch.load(tmp_path / "run.pt", weights_only=True)["calibration"]["history"]


def test_minutes_that_are_over_leave_what_is_finished(model: nn.Module, images: Tensor, tmp_path: Path) -> None:
    with pytest.warns(QdiagWarning, match="not done after"):
        left = calibrate(model, images, WAY, checkpoint=tmp_path / "run.pt", minutes=1e-9)
    assert not left.calibration.history
    assert torch.equal(left(images), calibrate(model, images, "simple")(images))
    whole = calibrate(model, images, WAY, checkpoint=tmp_path / "run.pt", minutes=10)
    assert [applied.name for applied in whole.calibration.history] == list(WAY)


def test_time_runs_out_between_techniques_and_inside_of_one(
    model: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock("rounding weights")
    monkeypatch.setattr("qdiag.quantization.deadline.time.monotonic", clock.now)
    with pytest.warns(QdiagWarning, match="'gptq' was not done after 1 minutes"):
        left = calibrate(model, images, WAY, minutes=1, on_progress=clock.hear)
    assert [applied.name for applied in left.calibration.history] == list(WAY[:2])


def test_a_moment_around_another_ends_the_work_in_both() -> None:
    told: list[str] = []

    def work() -> Steps[str]:
        yield Progress("begun", 1, 2)
        for part in range(100):
            time.sleep(0.01)
            report(Progress("under way", part, 100))
        yield Progress("ended", 2, 2)
        return "done"

    def both() -> Steps[str]:
        found = yield from Deadline(None).within(work())
        told.append(str(found))
        return "both done"

    assert run(Deadline(0.2 / 60).within(both()), lambda _: None) is None
    assert not told  # the inner one has all the time there is: it was the outer's that was up


def test_minutes_are_a_number_above_zero(model: nn.Module, images: Tensor) -> None:
    with pytest.raises(OptionError) as caught:
        calibrate(model, images, minutes=0)
    assert caught.value.code == "option-value"


class Clock:
    """A clock on which an hour passes once a part of the work begins."""

    def __init__(self, label: str):
        self.label, self.seconds = label, 0.0

    def now(self) -> float:
        return self.seconds

    def hear(self, progress: Progress) -> None:
        if progress.label == self.label:
            self.seconds = 3600.0
