"""Versions side by side: figures and cost of each, and what the user says of them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdiag.demo.load import load_demo
from qdiag.errors import OptionError
from qdiag.workbench.history import History
from qdiag.workbench.session import Session
from qdiag.workbench.workbench import Workbench

TRIED = "block3.depthwise: 16-bit"


def new_session(folder: Path | None) -> Session:
    demo = load_demo("wild")
    return Session(demo.model, demo.loader, calibration_data=demo.calibration_loader, folder=folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Session:
    session = new_session(tmp_path_factory.mktemp("runs"))
    session.calibrate("simple")
    session.what_if("block3.depthwise", bits=16)
    session.calibrate("simple", bits=16)
    return session


@pytest.fixture
def session(made: Session) -> Iterator[Session]:
    """As it was made, whatever a test does with its history."""
    before = list(made.history.values()), list(made.history.applied)
    yield made
    made._record.history = History(*before)


def test_each_version_has_its_figures_and_its_cost(session: Session) -> None:
    table: Any = session.versions().to_pandas().set_index("version")
    layers = {str(layer.site): layer for layer in session.history["simple"].quantized.plan.layers}
    model: Any = session.model
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim > 1)
    biases = sum(model.get_submodule(layer.site.path).weight.shape[0] for layer in layers.values() if layer.is_weighted)
    assert table.loc["simple", "parameter_kb"] == pytest.approx((weights + 4 * biases) / 1024)
    assert table.loc["simple bits=16", "parameter_kb"] > 1.4 * table.loc["simple", "parameter_kb"]
    assert table.loc["simple", "wide_percent"] == 0
    assert table.loc["simple bits=16", "wide_percent"] == pytest.approx(100, abs=0.2)  # all but the input
    depthwise = model.get_submodule("block3.depthwise").weight
    one = table.loc[TRIED, "parameter_kb"] - table.loc["simple", "parameter_kb"]
    assert one >= math.prod(depthwise.shape) / 1024
    assert 0 < table.loc[TRIED, "wide_percent"] < 5


def test_accuracy_stands_over_cost(session: Session) -> None:
    chart = session.versions().chart
    table: Any = session.versions().to_pandas().set_index("version")
    assert chart is not None
    (points,) = chart.series
    assert points.labels == ("simple", TRIED, "simple bits=16")
    assert points.at == tuple(table.loc[list(points.labels), "wide_percent"])
    assert points.values == tuple(table.loc[list(points.labels), "top1_percent"])
    assert chart.y_title == "top-1 (%)"
    assert "Accuracy against cost" in session.to_html()


def test_a_title_a_note_and_a_pin_are_kept_and_commands_take_the_title(session: Session) -> None:
    session.annotate(TRIED, title="wide depthwise", note="ask hardware", pinned=True)
    table = session.versions().to_pandas()
    assert list(table["version"]) == ["float", "★ wide depthwise", "simple", "simple bits=16"]
    assert table["note"][1] == "ask hardware"
    assert session.history.find("wide depthwise").name == TRIED
    assert session.code("wide depthwise") == session.history[TRIED].script
    assert session.compare("simple", "wide depthwise").lanes == ("simple", TRIED)

    again = new_session(session.folder.root.parent if session.folder else None)
    again.restore()
    kept = again.history[TRIED]
    assert (kept.title, kept.note, kept.is_pinned) == ("wide depthwise", "ask hardware", True)
    session.annotate("wide depthwise", title="")
    assert session.history[TRIED].called == TRIED


def test_two_versions_cannot_be_called_the_same(session: Session) -> None:
    with pytest.raises(OptionError, match="another version is called 'simple'"):
        session.annotate(TRIED, title="simple")
    session.annotate(TRIED, title="mine")
    assert session.history.free_name("mine") == "mine (2)"
    session.annotate(TRIED, title="mine", note="the same title again")


def test_a_version_is_deleted_but_not_the_applied_one(session: Session) -> None:
    with pytest.raises(OptionError, match="'simple' is applied"):
        session.delete("simple")
    session.delete(TRIED)
    assert list(session.history) == ["simple", "simple bits=16"]
    with pytest.raises(OptionError, match="no version"):
        session.delete(TRIED)


def test_what_was_found_of_a_deleted_version_is_not_said_of_one_of_its_name(session: Session) -> None:
    session.history.applied.append(TRIED)
    session.compare_images()
    assert session.images is not None
    session.undo()
    session.delete(TRIED)
    session.what_if("block3.depthwise", bits=16)
    session.history.applied.append(TRIED)
    assert session.images is None


def test_a_name_that_was_freed_takes_no_other_ones_place(session: Session) -> None:
    for _ in range(2):
        session.what_if("block3.depthwise", bits=16)
    session.delete(f"{TRIED} (2)")
    assert session.what_if("block3.depthwise", bits=16).name == f"{TRIED} (2)"
    assert f"{TRIED} (3)" in session.history


def test_the_page_says_titles_and_compares_what_is_ticked(session: Session) -> None:
    bench = Workbench(session)
    panel = bench.versions
    panel.choice.value = TRIED
    panel.title.value, panel.note.value = "wide", "try on the board"
    panel.keep_button.click()
    told: dict[str, Any] = json.loads(panel.table.table.value)
    assert [version["called"] for version in told["versions"]] == ["", "simple", "wide", "simple bits=16"]
    assert told["versions"][2]["cells"][-1] == "try on the board"
    assert panel.choice.value == "wide"
    panel.pin_button.click()
    assert json.loads(panel.table.table.value)["versions"][1]["called"] == "wide"
    assert panel.pin_button.description == "Unpin"

    panel.table.chosen.value = json.dumps([TRIED, "simple bits=16"])
    panel.compare_button.click()
    bench.job.wait(120)
    assert f"float against {TRIED} and simple bits=16" in panel.code.value
    panel.choice.value = "simple"
    panel.delete_button.click()
    assert "is applied" in panel.trouble.value
    panel.choice.value = "wide"
    panel.delete_button.click()
    assert TRIED not in session.history
    assert panel.table.ticked == ["simple bits=16"]
