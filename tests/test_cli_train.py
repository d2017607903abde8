"""`qdiag train`, as a shell sees it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from qdiag.cli.app import app
from tests.test_cli import qdiag, strict
from tests.training.nets import same

MODEL = """
import torch
from torch import nn

def build(width=8):
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(first, nn.Conv2d(width, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()

def unlabelled():
    return [torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))] * 4
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(MODEL)
    return str(tmp_path / "net.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dark and bright images, twelve of each."""
    generator = torch.Generator().manual_seed(0)
    for name, least in (("bright", 100), ("dark", 0)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            pixels = torch.randint(least, least + 150, (20, 20, 3), dtype=torch.uint8, generator=generator)
            Image.fromarray(pixels.numpy()).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


SMALL = ["--size", "12", "--resize", "12", "--batch-size", "8"]


@pytest.mark.training
def test_it_trains_in_fixed_point_and_what_it_saved_is_loaded(model: str, folder: Path, tmp_path: Path) -> None:
    words = [f"{model}:build", "--images", str(folder), *SMALL]
    measured = ["--validation", str(folder), "--epochs", "8", "--lr", "0.01", "--json"]
    done = qdiag("train", *words, *measured, "--output", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    data = strict(done.stdout)["data"]
    assert list(data["before"]) == ["teacher", "float", "16-bit", "8-bit"]
    assert data["after"]["8-bit"]["top1_percent"] == 100
    assert str(tmp_path / "run" / "model.pt") in done.stderr
    assert (tmp_path / "run" / "history.csv").read_text().startswith("epoch,learning_rate,loss")
    verified = CliRunner().invoke(app, ["verify", *words, "--load", str(tmp_path / "run" / "model.pt"), "--json"])
    assert verified.exit_code == 0, verified.stderr
    assert strict(verified.stdout)["data"]["off_by_more"] == 0


@pytest.mark.training
def test_stopped_by_ctrl_c_and_killed_it_goes_on_with_resume(model: str, tmp_path: Path) -> None:
    """Without labels: it learns from the float model."""
    words = ["train", f"{model}:build", "--data", f"{model}:unlabelled", "--epochs", "100", "--output"]
    assert CliRunner().invoke(app, [*words, str(tmp_path / "unbroken")]).exit_code == 0
    command = [sys.executable, "-c", "from qdiag.cli import main; main()", *words, str(tmp_path / "run"), "--resume"]
    for number in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun, history = time.time(), tmp_path / "run" / "history.csv"
        while not history.exists() or history.stat().st_mtime < begun:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert "The same command with --resume goes on from here" in errors
        else:
            assert process.returncode == -signal.SIGKILL
    done = CliRunner().invoke(app, [*words, str(tmp_path / "run"), "--resume"])
    assert done.exit_code == 0, done.stderr
    states = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("unbroken", "run")]
    assert same(*states)


@pytest.mark.training
def test_in_float_the_model_itself_is_saved(model: str, folder: Path, tmp_path: Path) -> None:
    words = [f"{model}:build", "--images", str(folder), *SMALL, "--float", "--epochs", "1", "--epoch-size", "0.5"]
    done = CliRunner().invoke(app, ["train", *words, "--output", str(tmp_path / "run")])
    assert done.exit_code == 0, done.stderr
    assert "No validation data" in done.stdout
    assert "0.0.weight" in torch.load(tmp_path / "run" / "model.pt", weights_only=True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--float"], "[no-labels]"),
        (["--float", "--load", "x.pt"], "[options-exclude-each-other]"),
        (["--epochs", "0"], "epochs=0"),
        (["--lr", "-1"], "learning_rate=-1.0"),
        (["--output", "net.py"], "[cannot-write]"),
        (["--output", "earlier"], "[folder-taken]"),
        (["--output", "earlier", "--resume"], "[unreadable-file]"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_message(
    words: list[str], says: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "checkpoint.pt").write_text("notes")
    given = ["train", f"{model}:build", "--data", f"{model}:unlabelled", "--output", "run", *words]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 2
    assert says in " ".join(done.stderr.split())
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
