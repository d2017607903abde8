"""The session's commands, without a screen."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import qdiag
from qdiag.demo.load import Demo, load_demo
from qdiag.errors import OptionError, QdiagWarning
from qdiag.progress import Progress, run
from qdiag.tracing.same_network import is_same_network
from qdiag.training.recipe import Recipe
from qdiag.workbench.session import Session
from tests.export.device import integers_of, write_npy


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


def test_versions_are_compared_at_every_layer(session: Session) -> None:
    found = session.compare("simple", "advanced")
    assert found.lanes == ("simple", "advanced")
    assert found.outputs["advanced"].sqnr_db == pytest.approx(session.history["advanced"].output.sqnr_db, abs=0.01)
    assert session.compare().lanes == ("simple", "advanced")
    with pytest.raises(OptionError, match="no version 'best'"):
        session.compare("best")


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
        assert torch.equal(names["quantized"](images), session.history[name].quantized(images))


def test_a_session_is_shown_as_page_text_and_table(session: Session, tmp_path: Path) -> None:
    assert "It is quantization" in str(session)
    frame = session.to_pandas("versions")
    assert list(frame["version"]) == ["float", *session.history]
    assert "what_if(quantized" in session.to_html(tmp_path / "page.html").read_text()
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
    steps, seen = session.train.steps(recipe), 0
    for progress in steps:
        seen += bool(progress.values)
        if seen == 4:
            break
    steps.close()
    assert list(session.history) == ["simple"]

    again = new_session(demo, tmp_path / "b")
    assert list(again.earlier.values()) == [["simple", "QAT-1 (unfinished)"]]
    again.restore()
    assert again.unfinished == ["QAT-1"]
    heard: list[Progress] = []
    version = run(again.resume.steps(), heard.append)
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
    assert torch.equal(names["quantized"](images), version.quantized(images))
    tried = session.what_if("stem", bits=16)
    assert tried.parent == "QAT-1"
    assert session.compare("QAT-1", tried.name).lanes == ("QAT-1", tried.name)
    with pytest.raises(OptionError, match="trained apart"):
        session.compare("simple", "QAT-1")


@pytest.mark.training
def test_a_session_goes_on_as_it_was(demo: Demo, tmp_path: Path) -> None:
    session = new_session(demo, tmp_path, evaluate=lambda model: 0.5)
    session.diagnose()
    session.what_if("block3.depthwise", per_channel=True)
    session.equalize("block3.depthwise")
    session.calibrate("best")
    session.apply("best")
    session.train(Recipe(epochs=1, distillation=1.0, epoch_size=0.3))
    session.apply("QAT-1")
    session.what_if("stem", bits=16)
    session.what_if("classifier", bits=None)
    session.undo()

    again = new_session(demo, tmp_path, evaluate=lambda model: 0.5)
    assert again.history == {}
    assert list(again.earlier.values()) == [list(session.history)]
    again.restore()
    assert again.earlier == {}
    assert again.current is again.history["best"]
    images = next(iter(demo.loader))[0]
    for name, version in session.history.items():
        found = again.history[name]
        assert torch.equal(found.quantized(images), version.quantized(images))
        assert (found.parent, found.output, found.score) == (version.parent, version.output, version.score)
        assert found.code == version.code
    trained = [again.history[name].quantized.module for name in ("QAT-1", "stem: 16-bit", "classifier: in float")]
    assert trained[0] is trained[1] is trained[2] is not demo.model
    assert is_same_network(again.history["best"].quantized.module, demo.model)
    again.undo()
    assert again.diagnose().comparison.lanes[-1] == "8-bit"
    assert again.folder is not None
    assert session.folder is not None
    assert again.folder.name == session.folder.name


def test_versions_are_measured_anew_on_other_images(demo: Demo, tmp_path: Path) -> None:
    new_session(demo, tmp_path).calibrate("simple")
    batches = list(demo.loader)[1:3]
    others = Session(demo.model, batches, folder=tmp_path)
    others.restore()
    expected = qdiag.compare(demo.model, batches, quantized={"it": others.history["simple"].quantized}).outputs["it"]
    assert others.history["simple"].output.top1_percent == expected.top1_percent
    another = new_session(demo, tmp_path, evaluate=lambda model: 0.25)
    another.restore()
    assert another.history["simple"].score == 0.25


def test_sessions_of_other_weights_and_damaged_ones_are_not_offered(demo: Demo, tmp_path: Path) -> None:
    first, second = new_session(demo, tmp_path), new_session(demo, tmp_path)
    first.calibrate("simple")
    second.calibrate("simple")
    assert len(first.earlier) == len(second.earlier) == 1  # each other
    changed = copy.deepcopy(demo.model)
    next(changed.parameters()).data.mul_(1.01)
    assert Session(changed, demo.loader, folder=tmp_path).earlier == {}
    with pytest.raises(OptionError, match="no earlier session"):
        Session(changed, demo.loader, folder=tmp_path).restore()
    assert first.folder is not None
    (first.folder.make() / "session.pt").write_bytes(b"half of it")
    assert second.earlier == {}


def test_a_session_that_keeps_nothing_writes_nothing(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(demo.model, demo.loader, training_data=demo.training_loader, folder=None)
    session.calibrate("simple")
    assert session.earlier == {}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OptionError, match="folder="):
        session.train(Recipe(epochs=1))
    with pytest.raises(OptionError, match="nothing is kept"):
        session.restore()


def test_a_folder_that_cannot_be_written_is_said_and_the_session_goes_on(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    session = new_session(demo, tmp_path / "file")
    with pytest.warns(QdiagWarning, match="the session is not kept"):
        session.calibrate("simple")
    assert list(session.history) == ["simple"]


def test_a_calibration_that_was_stopped_goes_on_from_the_last_technique(demo: Demo, tmp_path: Path) -> None:
    session = new_session(demo, tmp_path)
    techniques = ["range-search", "bias-correction"]
    steps = session.calibrate.steps(techniques)
    for progress in steps:
        if progress.label == "correcting biases":
            break
    steps.close()
    assert session.folder is not None
    kept = session.folder.make()
    assert len(list(kept.glob("calibration-*.pt"))) == 1
    labels: list[str] = []
    version = session.calibrate(techniques, on_progress=lambda progress: labels.append(progress.label))
    assert "correcting biases" in labels
    assert "searching ranges" not in labels
    assert list(kept.glob("calibration-*.pt")) == []
    unbroken = qdiag.calibrate(demo.model, demo.calibration_loader, techniques)
    images = next(iter(demo.loader))[0]
    assert torch.equal(version.quantized(images), unbroken(images))


def test_the_devices_tensors_are_compared(session: Session, demo: Demo, tmp_path: Path) -> None:
    exported = session.export(tmp_path / "out", style="qdq").exported
    image = next(iter(demo.loader))[0][:1]
    traces = tmp_path / "traces"
    traces.mkdir()
    write_npy(integers_of(exported, image), {}, traces)
    found = session.compare_dump(traces)
    assert found.problems == ()
    assert {site.agreement.site for site in found.sites} == set(exported.names)
    assert found.sites[0].agreement.equal == found.sites[0].agreement.values
    assert found.first_differing is not None  # the runtime rounds half to even: a tie falls to the other side
    assert found.first_differing.agreement.largest == 1


def test_without_images_to_train_with_it_says_so(demo: Demo, tmp_path: Path) -> None:
    session = Session(demo.model, demo.loader, folder=tmp_path)
    session.calibrate("simple")
    with pytest.raises(OptionError, match="training_data"):
        session.train(Recipe(epochs=1))
    assert session.unfinished == []
