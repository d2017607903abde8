"""A chart on the page: redrawn in place, clicked by name, hidden where there is nothing."""

from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from qdiag.comparison.layer_error import LayerComparison, LayerError
from qdiag.report.chart import Chart, Series
from qdiag.report.colours import COLOURS
from qdiag.tracing.site import Site
from qdiag.workbench.figures import part_chart
from qdiag.workbench.picture import Part, Picture

PARTS = {"error": Part(200), "more": Part(150)}
NAMES = ("stem", "block<1>", "head")


def lines(*lanes: str, values: tuple[float, ...] = (1.0, 2.0, 3.0), names: tuple[str, ...] = NAMES) -> Chart:
    return Chart("line", "Error", tuple(Series(lane, values, "dB") for lane in lanes), names, key="error")


class Place:
    """Where a click went, as plotly tells it."""

    def __init__(self, *point_inds: int):
        self.point_inds = list(point_inds)


def click(picture: Picture, number: int, *places: int) -> None:
    """On a trace of the figure; plotly has no public way to it."""
    assert picture.figure is not None
    trace: Any = picture.figure.data[number]
    for callback in trace._click_callbacks:
        callback(trace, Place(*places), None)


def test_the_same_traces_are_redrawn_and_others_replace_them() -> None:
    picture = Picture("qd-all", PARTS)
    picture.show([lines("16-bit", "8-bit")])
    first = picture.figure
    picture.show([lines("16-bit", "8-bit", values=(4.0, 5.0, 6.0), names=("a", "b", "c"))])
    assert picture.figure is first is not None
    assert [list(trace.y) for trace in first.data] == [[4.0, 5.0, 6.0]] * 2
    assert list(first.data[0].customdata) == list(first.layout.xaxis.tickvals) == ["a", "b", "c"]
    picture.show([lines("16-bit", "mine")])
    assert picture.figure is not first
    assert list(picture.children) == [picture.figure]
    assert first.comm is None  # closed


def test_the_page_is_told_of_a_figure_with_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[dict[str, Any]] = []
    open_comm = go.FigureWidget.open

    def tell(figure: go.FigureWidget) -> None:
        opened.append(figure.get_state())
        open_comm(figure)

    monkeypatch.setattr(go.FigureWidget, "open", tell)
    Picture("qd-all", PARTS).show([lines("16-bit", "8-bit")])
    (state,) = opened
    assert [trace["name"] for trace in state["_widget_data"]] == ["16-bit", "8-bit"]
    assert state["_widget_layout"]["height"] == 200


def test_a_click_gives_the_name_as_the_chart_has_it() -> None:
    clicked: list[str] = []
    picture = Picture("qd-all", PARTS, clicked.append)
    picture.show([lines("16-bit", "8-bit")])
    click(picture, 1, 1)
    picture.show([lines("mine")])  # other traces hear clicks too
    click(picture, 0, 2)
    click(picture, 0)  # beside everything
    assert clicked == ["block<1>", "head"]


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
    assert picture.figure is not None
    found = {trace.name: trace.line.color for trace in picture.figure.data}
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
    layer = LayerComparison(Site("stem", "conv2d", 0), "conv2d", (), None, True, False, {"8-bit": error})
    weights, output, inherited = part_chart([layer], "8-bit").series
    assert [part.name for part in (weights, output, inherited)] == ["weights", "output", "inherited"]
    found = [part.values[0] for part in (weights, output, inherited)]
    assert found == pytest.approx([15.0, 5.0, 30.0])  # 20 % of its own, of which three quarters by weights; 50 % in all


def test_charts_of_one_picture_stand_one_below_the_other() -> None:
    picture = Picture("qd-all", PARTS)
    picture.show([lines("8-bit"), replace(lines("16-bit"), key="more"), replace(lines("4-bit"), key="elsewhere")])
    assert picture.figure is not None
    found, layout = picture.figure.data, picture.figure.layout
    assert [(trace.name, trace.yaxis) for trace in found] == [("8-bit", "y"), ("16-bit", "y2")]
    assert layout.height == 350
    assert layout.yaxis.domain[0] > layout.yaxis2.domain[1]
    picture.show([replace(lines("16-bit", values=(9.0, 8.0, 7.0)), key="more")])
    assert [(trace.name, trace.yaxis, tuple(trace.y)) for trace in picture.figure.data] == [
        ("16-bit", "y", (9.0, 8.0, 7.0))
    ]
