import json
from dataclasses import replace

from qdiag.report.chart import Chart, Series
from qdiag.report.to_plotly import CONFIG, figure
from tests.report.samples import BARS, COSTS, HISTOGRAM, LAYERS, LINES, SCATTER


def test_bars_run_from_the_top_and_say_their_values() -> None:
    made = figure(BARS)
    sixteen, eight = made.data
    assert (eight.orientation, made.layout.yaxis.autorange) == ("h", "reversed")
    assert list(eight.y) == list(eight.customdata) == list(LAYERS)
    assert list(eight.x) == [12.0, 3.0, 24.0, 30.0]
    assert list(sixteen.x) == [0.0, 51.5, 60.0, 0.0]
    assert list(sixteen.text) == list(sixteen.hovertext) == ["∞ dB", "51.5 dB", "60.0 dB", "–"]
    assert list(sixteen.textposition) == ["outside", "inside", "inside", "outside"]


def test_lines_break_where_a_value_is_missing() -> None:
    made = figure(LINES)
    assert list(made.data[0].y) == [0.001, 0.1, None, 0.01]
    assert made.layout.yaxis.type == "log"


def test_histograms_are_steps_over_their_edges_with_their_marks() -> None:
    made = figure(HISTOGRAM)
    assert list(made.data[0].x) == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert list(made.data[0].y) == [2.0, 30.0, 400.0, 90.0, 90.0]
    assert made.data[0].hovertext[1] == "-1.00 to 0: 30"
    assert [shape.x0 for shape in made.layout.shapes] == [-1.0, 0.992]


def test_points_say_both_values_and_their_names() -> None:
    made = figure(SCATTER)
    assert made.data[0].hovertext == ("0.100 → 0", "1.40 → 1.50", "3.30 → 3.00")
    assert made.data[1].y == (2.0, None)  # what is no number is not drawn
    (line,) = made.layout.shapes
    assert (line.x0, line.x1) == (line.y0, line.y1)
    named = figure(COSTS)
    assert named.data[0].hovertext[1] == "conv1 &amp; &lt;fc&gt;: 16-bit: 12.5 → 71.8 %"
    assert not named.layout.shapes


def test_stacked_bars_and_a_formats_grid() -> None:
    parts = Series("weights", (1.0,)), Series("output", (2.0,))
    assert figure(Chart("bar", "t", parts, ("a",), stacked=True)).layout.barmode == "stack"
    grid = figure(replace(HISTOGRAM, x_grid=0.5)).layout.xaxis.minor
    assert (grid.dtick, grid.showgrid) == (0.5, True)
    assert figure(HISTOGRAM).layout.xaxis.minor.dtick is None


def test_long_names_are_cut_on_the_axis_and_whole_under_the_pointer() -> None:
    name = "backbone.features.12.conv.0.depthwise.conv2d"
    trace = figure(Chart("bar", "t", (Series("8-bit", (1.0,)),), (name,)))
    assert len(trace.layout.yaxis.ticktext[0]) == 36
    assert trace.data[0].hovertemplate == "%{hovertext}<br>%{customdata}"


def test_names_are_words_and_no_tags() -> None:
    made = figure(Chart("line", "a<b", (Series("x<y", (1.0,)),), ("<unnamed>",)))
    assert made.layout.title.text == "a&lt;b"
    assert made.data[0].name == "x&lt;y"
    assert (made.data[0].x[0], made.data[0].customdata[0]) == ("&lt;unnamed&gt;", "<unnamed>")


def test_a_figure_is_light_and_strict_json() -> None:
    for chart in (BARS, LINES, HISTOGRAM, SCATTER, COSTS):
        text = figure(chart).to_json()
        assert "NaN" not in text
        assert "Infinity" not in text
        assert len(text) < 5000
        assert json.loads(text)["layout"]["paper_bgcolor"] == "rgba(0, 0, 0, 0)"


def test_no_button_leads_to_a_network() -> None:
    assert CONFIG["modeBarButtons"] == [["toImage", "zoom2d", "pan2d", "resetScale2d"]]
    assert CONFIG["plotlyServerURL"] == ""
