"""A chart on the page: redrawn in place, clicked by name, hidden where there is nothing."""

import gzip
import json
from dataclasses import replace
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
import pytest

from qdiag.comparison.layer_error import LayerError
from qdiag.report.chart import Chart, Series
from qdiag.report.colours import COLOURS
from qdiag.workbench.layer_list import error_parts
from qdiag.workbench.live_chart import LiveChart
from qdiag.workbench.picture import Part, Picture

PARTS = {"error": Part(200), "more": Part(150)}
NAMES = ("stem", "block<1>", "head")


def lines(*lanes: str, values: tuple[float, ...] = (1.0, 2.0, 3.0), names: tuple[str, ...] = NAMES) -> Chart:
    return Chart("line", "Error", tuple(Series(lane, values, "dB") for lane in lanes), names, key="error")


def figure(picture: Picture) -> Any:
    """What the page is told: data and layout."""
    assert picture.live is not None
    return json.loads(picture.live.figure.value)


def test_other_charts_take_the_place_of_the_first_in_the_same_widget() -> None:
    picture = Picture("qd-all", PARTS)
    picture.show([lines("16-bit", "8-bit")])
    first = picture.live
    picture.show([lines("16-bit", "mine", values=(4.0, 5.0, 6.0), names=("a", "b", "c"))])
    assert list(picture.children) == [picture.live] == [first]
    drawn = figure(picture)
    assert [trace["name"] for trace in drawn["data"]] == ["16-bit", "mine"]
    assert [trace["y"] for trace in drawn["data"]] == [[4.0, 5.0, 6.0]] * 2
    assert drawn["data"][0]["customdata"] == drawn["layout"]["xaxis"]["tickvals"] == ["a", "b", "c"]
    assert drawn["layout"]["height"] == 200


def test_marks_carry_the_names_that_a_click_selects() -> None:
    selection = widgets.Combobox()
    picture = Picture("qd-all", PARTS, selection)
    picture.show([lines("16-bit", "8-bit")])
    assert picture.live is not None
    assert picture.live.selection is selection
    assert [trace["customdata"] for trace in figure(picture)["data"]] == [list(NAMES)] * 2


def test_figures_share_one_script_which_is_plotly() -> None:
    one, other = LiveChart(go.Figure()), LiveChart(go.Figure())
    assert one.library is other.library
    packed = bytes(one.library.value)
    assert b"plotly.js v" in gzip.decompress(packed)[:200]
    assert len(packed) < 2_000_000


def test_a_figure_has_a_width_before_it_is_drawn() -> None:
    """In a view that is hidden at first it is drawn once the view is seen, which needs room to be seen in."""
    assert LiveChart(go.Figure()).layout.width == "100%"


def test_there_is_nothing_where_there_is_no_chart() -> None:
    picture = Picture("qd-weights", PARTS)
    assert picture.layout.display == "none"
    picture.show([lines("8-bit")])
    assert picture.layout.display == "flex"
    picture.show([])
    assert picture.layout.display == "none"


def test_colours_on_the_page_are_those_of_the_report() -> None:
    picture = Picture("qd-all", PARTS)
    picture.show([lines("float", "16-bit", "8-bit")])
    found = {trace["name"]: trace["line"]["color"] for trace in figure(picture)["data"]}
    assert found == {lane: COLOURS[lane] for lane in ("float", "16-bit", "8-bit")}


def test_the_parts_of_an_error_add_up_to_the_error_in_the_network() -> None:
    error = LayerError(
        format="int8 · 2^-5",
        accumulated={"relative_error": 0.5},
        added={"relative_error": 0.2},
        added_noise=0.04,
        rounding_noise=0.01,
        weight_noise=0.03,
        loudest_channel=0,
        loudness=1.0,
        weight=None,
    )
    found = list(error_parts(error))
    assert found == pytest.approx([15.0, 5.0, 30.0])  # 20 % of its own, of which three quarters by weights; 50 % in all


def test_charts_of_one_picture_stand_one_below_the_other() -> None:
    picture = Picture("qd-all", PARTS)
    picture.show([lines("8-bit"), replace(lines("16-bit"), key="more"), replace(lines("4-bit"), key="elsewhere")])
    shown = go.Figure(figure(picture))
    found, layout = shown.data, shown.layout
    assert [(trace.name, trace.yaxis) for trace in found] == [("8-bit", "y"), ("16-bit", "y2")]
    assert layout.height == 350
    assert layout.yaxis.domain[0] > layout.yaxis2.domain[1]
    picture.show([replace(lines("16-bit", values=(9.0, 8.0, 7.0)), key="more")])
    assert [(trace.name, trace.yaxis, tuple(trace.y)) for trace in go.Figure(figure(picture)).data] == [
        ("16-bit", "y", (9.0, 8.0, 7.0))
    ]
