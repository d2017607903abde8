"""The session's commands, without a screen."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import qdiag
from qdiag.demo.load import Demo, load_demo
from qdiag.errors import OptionError
from qdiag.progress import Progress, run
from qdiag.training.recipe import Recipe
from qdiag.workbench.session import Session


@pytest.fixture(scope="module")
def demo() -> Demo:
    return load_demo("wild")


@pytest.fixture(scope="module")
def session(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Diagnosed, one change tried, one calibration."""
    made = new_session(demo, tmp_path_factory.mktemp("runs"))
    made.diagnose()
    made.what_if("block3.depthwise", per_channel=True)
    made.calibrate("advanced")
    return made


def new_session(demo: Demo, folder: Path, **options: Any) -> Session:
    data = {"calibration_data": demo.calibration_loader, "training_data": demo.training_loader}
    return Session(demo.model, demo.loader, demo.optimizer, folder=folder, **data | options)


def test_what_is_tried_is_not_applied(session: Session) -> None:
    assert list(session.history) == ["simple", "block3.depthwise: per-channel", "advanced"]
    assert session.current is session.history["simple"]
    tried = session.history["block3.depthwise: per-channel"]
    assert tried.output.top1_percent is not None
    assert tried.output.top1_percent > 99


def test_versions_are_measured_as_compare_measures_them(session: Session, demo: Demo) -> None:
    version = session.history["advanced"]
    compared = qdiag.compare(demo.model, demo.loader, quantized={"it": version.quantized})
    assert version.output.top1_percent == compared.outputs["it"].top1_percent
    assert version.output.sqnr_db == pytest.approx(compared.outputs["it"].sqnr_db, abs=0.01)


def test_applying_diagnoses_and_undoing_goes_back(session: Session) -> None:
    before = session.diagnosis
    session.apply("block3.depthwise: per-channel")
    assert session.diagnosis is not None
    assert session.diagnosis.comparison.lanes == ("16-bit", "block3.depthwise: per-channel")
    assert "block3.depthwise: per-channel" in session.inspect("block3.depthwise").counts
    session.undo()
    assert session.diagnosis is before
    assert "8-bit" in session.inspect("block3.depthwise").counts
    with pytest.raises(OptionError, match="nothing to undo"):
        session.undo()


def test_the_code_of_a_version_makes_the_same_numbers(session: Session, demo: Demo) -> None:
    for name in ("block3.depthwise: per-channel", "advanced"):
        names: dict[str, Any] = {"model": demo.model, "images": demo.calibration_loader}
        exec(session.code(name), names)
        images = next(iter(demo.loader))[0]
        assert torch.equal(names["qm"](images), session.history[name].quantized(images))


def test_a_session_is_shown_as_page_text_and_table(session: Session, tmp_path: Path) -> None:
    assert "It is quantization" in str(session)
    frame = session.to_pandas("versions")
    assert list(frame["version"]) == ["float", *session.history]
    assert "what_if(qm" in session.to_html(tmp_path / "page.html").read_text()
    assert "Nothing was run yet" in str(Session(nn.ReLU(), torch.zeros(2, 3)))


def test_commands_that_need_a_version_say_so(demo: Demo, tmp_path: Path) -> None:
    session = new_session(demo, tmp_path)
    for command in (lambda: session.what_if("*", bits=16), session.train, lambda: session.export(tmp_path)):
        with pytest.raises(OptionError, match="no version yet"):
            command()
    with pytest.raises(OptionError, match="no version 'best'"):
        session.apply("best")
    with pytest.raises(OptionError, match="no unfinished training run"):
        session.resume()


def test_the_users_own_figure_stands_beside_ours(demo: Demo, tmp_path: Path) -> None:
    def right(model: nn.Module) -> float:
        images, labels = next(iter(demo.loader))
        return float((model(images).argmax(1) == labels).sum())

    session = new_session(demo, tmp_path, evaluate=right)
    version = session.calibrate("simple")
    assert version.score is not None
    assert session.float_score is not None
    assert version.score < session.float_score
    assert list(session.to_pandas("versions")["score"]) == [session.float_score, version.score]


def test_the_applied_version_is_exported(session: Session, tmp_path: Path) -> None:
    session.export(tmp_path / "out")
    assert (tmp_path / "out" / "README.txt").is_file()


@pytest.mark.training
def test_training_stopped_in_one_session_goes_on_in_another(demo: Demo, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, distillation=1.0, epoch_size=0.3)
    state = {name: value.clone() for name, value in demo.model.state_dict().items()}
    unbroken = new_session(demo, tmp_path / "a")
    unbroken.calibrate("simple")
    unbroken.train(recipe)

    session = new_session(demo, tmp_path / "b")
    session.calibrate("simple")
    steps, seen = session.training_steps(recipe), 0
    for progress in steps:
        seen += bool(progress.values)
        if seen == 4:
            break
    steps.close()
    assert list(session.history) == ["simple"]

    again = new_session(demo, tmp_path / "b")
    assert again.unfinished == ["QAT-1"]
    heard: list[Progress] = []
    version = run(again.resume_steps(), heard.append)
    assert again.unfinished == []
    assert sum(bool(progress.values) for progress in heard) + 4 == 2 * int(heard[0].total or 0)
    assert version.name == "QAT-1"
    images = next(iter(demo.loader))[0]
    assert torch.equal(version.quantized(images), unbroken.history["QAT-1"].quantized(images))
    assert all(torch.equal(value, state[name]) for name, value in demo.model.state_dict().items())


@pytest.mark.training
def test_a_trained_version_is_diagnosed_and_its_code_makes_it(demo: Demo, tmp_path: Path) -> None:
    session = new_session(demo, tmp_path)
    session.calibrate("simple")
    version = session.train(Recipe(epochs=1, distillation=1.0, epoch_size=0.3))
    session.apply("QAT-1")
    assert session.diagnosis is not None
    assert session.inspect("stem").images > 0
    model = copy.deepcopy(demo.model)
    names: dict[str, Any] = {"model": model, "images": demo.calibration_loader, "training": demo.training_loader}
    exec(session.code("QAT-1"), names)
    images = next(iter(demo.loader))[0]
    assert torch.equal(names["qm"](images), version.quantized(images))
    tried = session.what_if("stem", bits=16)
    assert tried.parent == "QAT-1"


def test_without_images_to_train_with_it_says_so(demo: Demo, tmp_path: Path) -> None:
    session = Session(demo.model, demo.loader, folder=tmp_path)
    session.calibrate("simple")
    with pytest.raises(OptionError, match="training_data"):
        session.train(Recipe(epochs=1))
    assert session.unfinished == []
