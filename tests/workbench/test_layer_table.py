"""The table of layers: errors beside cost, the worst first, as the page is told of it."""

import json
from typing import Any

import ipywidgets as widgets
import pytest

from qdiag.demo.load import load_demo
from qdiag.errors import OptionError
from qdiag.workbench.layer_table import LayerTable
from qdiag.workbench.offers import offers
from qdiag.workbench.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    demo = load_demo("wild")
    made = Session(demo.model, demo.loader, calibration_data=demo.calibration_loader, folder=None)
    with pytest.raises(OptionError, match=r"diagnose\(\)"):
        made.layers()
    assert made.offers() == ()
    made.diagnose()
    return made


@pytest.fixture(scope="module")
def told(session: Session) -> dict[str, Any]:
    table = LayerTable(widgets.Combobox())
    table.show(session.layers())
    found: dict[str, Any] = json.loads(table.table.value)
    return found


def test_the_worst_layer_is_first_and_shares_of_the_damage_add_up(session: Session) -> None:
    table = session.layers().to_pandas()
    assert table["site"][0] == "block3.depthwise"
    assert table["damage_percent"].is_monotonic_decreasing
    assert table["damage_percent"].sum() == pytest.approx(100)
    assert session.layers().culprits == ("block3.depthwise",)


def test_cost_stands_beside_error(session: Session) -> None:
    table = session.layers().to_pandas().set_index("site")
    stem = table.loc["stem"]
    assert stem["parameters"] == sum(p.numel() for p in session.model.get_submodule("stem").parameters())
    shape = [int(size) for size in stem["shape"].split(" × ")]
    assert stem["macs"] == shape[0] * shape[1] * shape[2] * 9  # 3 x 3, of one grey channel
    assert table["macs_percent"].sum() == pytest.approx(100)


def test_the_page_is_told_text_and_numbers_of_every_cell(told: dict[str, Any], session: Session) -> None:
    table = session.layers().to_pandas()
    keys = [column["key"] for column in told["columns"]]
    assert set(table.columns) - set(keys) == {f"{part}_error_percent" for part in ("weights", "output", "inherited")}
    place = keys.index("sqnr_db_8bit")
    assert [row[place] for row in told["values"]] == pytest.approx(list(table["sqnr_db_8bit"]), rel=1e-5)
    assert [row[place] for row in told["texts"]] == [f"{value:.1f}" for value in table["sqnr_db_8bit"]]
    errors = [row[keys.index("error_percent")] for row in told["values"]]
    assert [sum(parts) for parts in told["bars"]] == pytest.approx(errors, rel=1e-5)


def test_what_is_offered_is_a_command_that_runs_and_brings_what_was_tried(session: Session) -> None:
    (offer,) = [one for one in session.offers() if one.code == "session.what_if(['block3.depthwise'], bits=16)"]
    before, after = (float(figure) for figure in offer.gain.split()[1:4:2])
    assert after > before
    made = getattr(session, offer.command)(*offer.arguments, **offer.options)
    assert made.output.top1_percent == pytest.approx(after, abs=2.0)  # of all images, and of 64


def test_a_healthy_network_is_offered_its_verification() -> None:
    demo = load_demo("healthy")
    session = Session(demo.model, demo.loader, folder=None)
    diagnosis = session.diagnose()
    assert [offer.code for offer in session.offers()] == ["session.verify()"]
    assert offers(diagnosis, "simple", is_verified=True) == ()
