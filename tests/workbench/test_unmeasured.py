"""Versions that were made, but whose measuring was stopped or failed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import ModelError, OptionError, QdiagWarning
from qdiag.progress import Steps
from qdiag.training.recipe import Recipe
from qdiag.workbench.panels.what_if import effect_html
from qdiag.workbench.session import Session
from qdiag.workbench.workbench import Workbench

ONE = Recipe(epochs=1, distillation=1.0)
TECHNIQUES = ["range-search", "bias-correction"]


class Metric:
    """The user's own figure, from a place that is not always there."""

    away = False

    def __call__(self, model: nn.Module) -> float:
        if self.away:
            raise ConnectionError("the metric's place is away")
        return model(photos()).mean().item()


def photos() -> Tensor:
    return torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(3))


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def session(folder: Path, metric: Metric | None = None) -> Session:
    made = Session(model(), photos(), evaluate=metric, training_data=photos(), folder=folder)
    made.calibrate("simple")
    return made


COMMANDS: dict[str, Callable[[Session], Steps[Any]]] = {
    "QAT-1": lambda one: one.train.steps(ONE),
    "range-search, bias-correction": lambda one: one.calibrate.steps(TECHNIQUES),
    "0: 16-bit": lambda one: one.what_if.steps("0", bits=16),
    "0: equalized": lambda one: one.equalize.steps("0"),
}


def stopped_while_measuring(steps: Steps[Any], name: str) -> None:
    next(progress for progress in steps if progress.label == f"measuring {name}")
    steps.close()


@pytest.mark.training
@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_made_is_kept_where_measuring_is_stopped_and_measured_by_diagnose(name: str, tmp_path: Path) -> None:
    stopped = session(tmp_path)
    stopped_while_measuring(COMMANDS[name](stopped), name)
    assert list(stopped.history) == ["simple", name]
    assert stopped.unfinished == []
    with pytest.raises(OptionError, match="not-measured"):
        _ = stopped.history[name].output
    assert "not measured" in str(stopped)
    assert stopped.report().data["versions"][1]["output"] is None

    again = Session(model(), photos(), training_data=photos(), folder=tmp_path)
    again.restore()
    assert again.history[name].measured is None
    again.diagnose()
    found = again.history[name]
    assert found.output.images == len(photos())
    assert torch.equal(found.quantized(photos()), stopped.history[name].quantized(photos()))
    assert "not measured" not in str(again)


@pytest.mark.training
@pytest.mark.parametrize("name", COMMANDS)
def test_where_the_users_own_figure_fails_ours_are_kept(name: str, tmp_path: Path) -> None:
    metric = Metric()
    failed = session(tmp_path, metric)
    metric.away = True
    with pytest.raises(ModelError, match="ConnectionError"):
        list(COMMANDS[name](failed))
    version = failed.history[name]
    assert version.output.sqnr_db > 0
    assert version.score is None
    assert list(failed.to_pandas("versions")["applied"])[2] == "not measured: Run checks"
    with pytest.raises(ModelError, match="ConnectionError"):
        failed.diagnose()
    metric.away = False
    failed.diagnose()
    assert failed.history[name].score is not None


def test_the_checkpoint_of_a_calibration_goes_when_the_session_has_the_version(tmp_path: Path) -> None:
    stopped = session(tmp_path)
    name = "range-search, bias-correction"
    assert stopped.folder is not None
    kept = stopped.folder.make()
    stopped_while_measuring(COMMANDS[name](stopped), name)
    assert list(kept.glob("calibration-*.pt")) == []
    measured = stopped.calibrate(TECHNIQUES)
    assert (measured.name, list(stopped.history)) == (name, ["simple", name])  # no second one of the same
    assert stopped.calibrate(TECHNIQUES).name == f"{name} (2)"


def test_the_checkpoint_stays_where_the_session_cannot_be_written(tmp_path: Path) -> None:
    full = session(tmp_path)
    assert full.folder is not None
    kept = full.folder.make()
    (kept / "session.pt").unlink()
    (kept / "session.pt").mkdir()  # nothing can be written in its place
    with pytest.warns(QdiagWarning, match="the session is not kept"):
        full.calibrate(TECHNIQUES)
    assert len(list(kept.glob("calibration-*.pt"))) == 1


@pytest.mark.training
def test_a_run_that_ended_is_offered_until_a_session_has_its_version(tmp_path: Path) -> None:
    killed = session(tmp_path)
    assert killed.folder is not None
    before = (killed.folder.make() / "session.pt").read_bytes()
    trained = killed.train(ONE)
    (killed.folder.make() / "session.pt").write_bytes(before)  # as if killed before it was written
    again = Session(model(), photos(), training_data=photos(), folder=tmp_path)
    assert list(again.earlier.values()) == [["simple", "QAT-1 (unfinished)"]]
    again.restore()
    assert torch.equal(again.resume().quantized(photos()), trained.quantized(photos()))
    assert again.unfinished == []


def test_the_page_shows_the_version_beside_the_error(tmp_path: Path) -> None:
    metric = Metric()
    bench = Workbench(session(tmp_path, metric))
    metric.away = True
    bench.runs.method.value = "advanced"
    bench.runs.calibrate()
    bench.job.wait()
    assert "ConnectionError" in bench.error.value
    assert "not measured" in bench.versions.table.table.value
    assert "advanced" in bench.versions.choice.options


def test_a_change_that_was_not_measured_says_so(tmp_path: Path) -> None:
    stopped = session(tmp_path)
    stopped_while_measuring(stopped.what_if.steps("0", bits=16), "0: 16-bit")
    assert "not measured" in effect_html(stopped.history["simple"], stopped.history["0: 16-bit"])
