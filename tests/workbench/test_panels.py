"""Controls start the session's commands, and what these leave is on the page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.demo.load import load_demo
from qdiag.errors import ModelError, OptionError
from qdiag.progress import Progress
from qdiag.workbench.history import History
from qdiag.workbench.panels.what_if import CHANGES, CULPRITS, DEPTHWISE, EVERY
from qdiag.workbench.session import Session
from qdiag.workbench.workbench import Workbench


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    demo = load_demo("wild")
    data = {"calibration_data": demo.calibration_loader, "training_data": demo.training_loader}
    bench = Workbench(demo.model, demo.loader, demo.optimizer, folder=tmp_path_factory.mktemp("runs"), **data)
    finish(bench, bench.run_button)
    return bench


@pytest.fixture
def bench(checked: Workbench) -> Iterator[Workbench]:
    """After the checks, with nothing but the first version."""
    yield checked
    checked.session._record.history = History([checked.session.history["simple"]], ["simple"])
    checked.refresh()


def finish(bench: Workbench, button: Any) -> None:
    button.click()
    bench.job.wait(120)


def test_a_session_already_diagnosed_is_shown_at_once(bench: Workbench) -> None:
    again = Workbench(bench.session)
    assert "It is quantization" in again.answer.verdict.value
    assert again.layers.choice.value == "block3.depthwise"
    assert "missing-batchnorm" in again.lint.findings.value


def test_the_head_says_how_bad_where_and_what_next(bench: Workbench) -> None:
    answer = bench.answer
    assert "loses 14.2 points of top-1 and decides otherwise" in answer.verdict.value
    assert re.findall(r"<b>([\d.]+) %</b>", answer.figures.value) == ["99.4", "99.4", "85.2"]
    assert re.search(r"loses 14\.2 \(95 %: 11\.\d to 17\.\d\)", answer.figures.value)
    assert answer.place.description == "block3.depthwise: 99% of the damage"
    (step,) = answer.next.children
    assert step.description == "Calibrate: best"
    assert re.search(r"expected: <b>top-1 8\d\.\d → 99\.\d % \(tried on 256 images\)", answer.gain.value)


def test_where_nothing_can_be_tried_the_head_says_what_to_do() -> None:
    class Noisy(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(super().forward(x), 0.5, training=True)

    bench = Workbench(Noisy(3, 8, 3).eval(), torch.rand(8, 3, 8, 8), folder=None)
    finish(bench, bench.run_button)
    assert bench.session.offers() == ()
    assert list(bench.answer.next.children) == []
    assert bench.answer.gain.value == "<b>Make the forward one function of its images</b>"


def test_the_worst_layer_is_a_click_away(bench: Workbench) -> None:
    bench.layers.choice.value, bench.views.value = "stem", "Lint"
    bench.answer.place.click()
    assert bench.layers.choice.value == "block3.depthwise"
    assert (bench.views.value, bench.layers.side.value) == ("Layers", "Selected layer")


def test_every_suggestion_makes_a_version(bench: Workbench) -> None:
    buttons = [line.children[0] for line in bench.answer.all.children]
    assert [button.description for button in buttons] == [
        *("Calibrate: best", "Equalize channels", "5 % of operations in 16 bit"),
        *("Equalize channels: block3.depthwise", "Per-channel weights: block3.depthwise", "16 bit: block3.depthwise"),
    ]
    for button in buttons[1:]:
        finish(bench, button)
        assert bench.error.layout.display == "none"
        assert bench.what_if.tried == list(bench.session.history)[-1]
    assert len(bench.session.history) == len(buttons)
    assert buttons[4].tooltip == "session.what_if(['block3.depthwise'], per_channel=True)"


def test_the_layer_that_is_looked_at_is_the_one_to_change(bench: Workbench) -> None:
    bench.layers.choice.value = "stem"
    assert bench.what_if.layers.value == "stem"


@pytest.mark.parametrize(("rule", "name"), [(EVERY, "all layers: 16-bit"), ("block2", "block2: 16-bit")])
def test_a_change_is_tried_on_a_rule_or_a_pattern(rule: str, name: str, bench: Workbench) -> None:
    bench.what_if.layers.value, bench.what_if.change.value = rule, "16 bit"
    finish(bench, bench.what_if.try_button)
    assert list(bench.session.history)[-1] == name
    assert name in bench.what_if.effect.value
    assert name in bench.versions.table.table.value


def test_layers_that_were_hidden_are_shown_again(bench: Workbench) -> None:
    bench.session.history.applied = []  # as where no version was diagnosed yet
    bench.refresh()
    assert bench.layers.widget.layout.display == "none"
    bench.session.history.applied = ["simple"]
    bench.refresh()
    assert bench.layers.widget.layout.display == "grid"


def test_rules_stand_for_their_layers(bench: Workbench) -> None:
    bench.what_if.layers.value = DEPTHWISE
    assert bench.what_if._chosen() == [f"block{number}.depthwise" for number in (1, 2, 3, 4)]
    bench.what_if.layers.value = CULPRITS
    assert bench.what_if._chosen()[0] == "block3.depthwise"


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_on_offer_can_be_made(change: str, bench: Workbench) -> None:
    bench.what_if.layers.value, bench.what_if.change.value = "block1.pointwise", change
    finish(bench, bench.what_if.try_button)
    assert len(bench.session.history) == 2
    assert bench.error.layout.display == "none"


def test_what_was_tried_is_applied_and_undone(bench: Workbench) -> None:
    bench.what_if.layers.value, bench.what_if.change.value = "block3.depthwise", "per-channel"
    finish(bench, bench.what_if.try_button)
    assert bench.session.current is not None
    assert bench.session.current.name == "simple"
    finish(bench, bench.what_if.apply_button)
    assert "applied <b>block3.depthwise: per-channel" in bench.answer.figures.value
    finish(bench, bench.versions.undo_button)
    assert "applied <b>simple" in bench.answer.figures.value
    finish(bench, bench.versions.undo_button)
    assert "nothing to undo" in bench.error.value
    assert "nothing to undo" in bench.versions.trouble.value
    assert bench.versions.trouble.layout.display == ""
    assert bench.what_if.trouble.layout.display == "none"


def test_a_name_that_no_layer_has_is_an_error_on_the_page(bench: Workbench) -> None:
    bench.what_if.layers.value = "nowhere"
    finish(bench, bench.what_if.try_button)
    for place in (bench.error, bench.what_if.trouble):
        assert "no layer is called &#x27;nowhere&#x27;" in place.value
        assert place.layout.display == ""
    assert not bench.run_button.disabled


def test_a_change_that_fails_clears_what_was_tried_before(bench: Workbench) -> None:
    for layers, display in (("stem", "flex"), ("nowhere", "none"), ("block2", "flex")):
        bench.what_if.layers.value, bench.what_if.change.value = layers, "16 bit"
        finish(bench, bench.what_if.try_button)
        assert bench.what_if.result.layout.display == display
    assert bench.what_if.trouble.layout.display == "none"


def test_the_applied_version_is_exported_and_its_code_shown(bench: Workbench, tmp_path: Path) -> None:
    bench.versions.folder.value = str(tmp_path / "out")
    finish(bench, bench.versions.export_button)
    assert (tmp_path / "out" / "README.txt").is_file()
    bench.versions.code_button.click()
    assert "calibrate(model, images, &quot;simple&quot;)" in bench.versions.code.value


def test_a_folder_of_something_else_is_not_replaced_without_a_word(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("notes")
    versions, bench.versions.folder.value = bench.versions, str(tmp_path)
    finish(bench, versions.export_button)
    assert not (tmp_path / "README.txt").exists()
    assert "holds files that qdiag did not write" in versions.question.value
    assert versions.asked.layout.display == "flex"
    with pytest.raises(OptionError, match="replace=True"):
        bench.session.export(tmp_path)
    finish(bench, versions.replace_button)
    assert versions.asked.layout.display == "none"
    assert bench.session.taken(tmp_path) == ""
    finish(bench, versions.export_button)  # its own is written anew unasked
    assert versions.asked.layout.display == "none"
    readme = tmp_path / "README.txt"
    readme.write_text(readme.read_text().replace("WildNet for", "OtherNet for"))
    assert bench.session.taken(tmp_path) == "the export of another model, OtherNet"


def test_versions_are_compared_by_layer(bench: Workbench) -> None:
    bench.what_if.layers.value, bench.what_if.change.value = "block3.depthwise", "per-channel"
    finish(bench, bench.what_if.try_button)
    finish(bench, bench.versions.compare_button)
    assert "float against simple and block3.depthwise: per-channel" in bench.versions.code.value
    assert bench.error.layout.display == "none"


def test_the_devices_tensors_are_asked_for(bench: Workbench, tmp_path: Path) -> None:
    bench.versions.dump.value = str(tmp_path / "nowhere")
    finish(bench, bench.versions.dump_button)
    assert "nowhere" in bench.error.value
    assert not bench.versions.dump_button.disabled


def test_an_earlier_session_is_offered_until_this_one_has_a_history(
    tmp_path: Path,
) -> None:
    demo = load_demo("healthy")
    Session(demo.model, demo.loader, folder=tmp_path).calibrate("simple")
    bench = Workbench(demo.model, demo.loader, folder=tmp_path)
    assert bench.earlier.widget.layout.display == "flex"
    assert "simple" in bench.earlier.widget.children[1].value
    finish(bench, bench.earlier.button)
    assert list(bench.session.history) == ["simple"]
    assert bench.earlier.widget.layout.display == "none"
    assert "applied <b>simple</b>" in bench.answer.verdict.value
    assert Workbench(demo.model, demo.loader, folder=None).earlier.widget.layout.display == "none"


def test_the_applied_version_is_verified(bench: Workbench) -> None:
    finish(bench, bench.versions.verify_button)
    found = bench.session.verifications["simple"]
    assert found.equal == found.values > 0
    assert f"all {found.values:,} the same" in bench.versions.table.table.value


def test_the_report_is_written(bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench.html_button.click()
    assert "Session of WildNet" in (tmp_path / "WildNet.html").read_text()


@pytest.mark.training
def test_training_is_stopped_and_resumed(bench: Workbench) -> None:
    bench.runs.epochs.value = 2

    def stop_soon(progress: Progress) -> None:
        bench._progress(progress)
        if progress.values:
            bench.job.stop()

    bench.job.on_progress = stop_soon
    finish(bench, bench.runs.train_button)
    assert bench.status.value.startswith("Stopped")
    assert bench.runs.resume_button.description == "Resume QAT-1"
    bench.job.on_progress = bench._progress
    finish(bench, bench.runs.resume_button)
    assert "QAT-1" in bench.session.history
    assert bench.runs.resume_button.layout.display == "none"
    for picture in bench.runs.pictures.values():
        assert bytes(picture.value).startswith(b"\x89PNG")
        assert picture.layout.display == ""


def test_the_users_own_figure_is_asked_for_before_long_work() -> None:
    def evaluate(model: nn.Module) -> float:
        raise ValueError("no labels today")

    session = Session(nn.Conv2d(3, 4, 3), torch.randn(4, 3, 8, 8), evaluate=evaluate, folder=None)
    steps = session.calibrate.steps("simple")
    with pytest.raises(ModelError, match="no labels"):
        next(steps)


def test_images_that_are_decided_otherwise_are_shown_of_the_applied_version(bench: Workbench) -> None:
    images = bench.images
    assert images.found.value == ""
    assert "in <b>simple</b>?" in images.state.value
    finish(bench, images.button)
    assert images.found.value.count('<img src="data:image/png') == 24
    assert "right → wrong" in images.found.value
    version = bench.session.what_if("block3.depthwise", per_channel=True)
    bench.session.history.applied.append(version.name)
    bench.refresh()
    assert images.found.value == ""  # nobody has looked at this one
