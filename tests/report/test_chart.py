import math
from dataclasses import replace

import pytest

from qdiag.errors import OptionError
from qdiag.report.cells import Code
from qdiag.report.chart import Chart, Mark, Series, chart_table
from qdiag.report.chart_scale import (
    diagonal,
    draws_grid,
    lengths,
    mark_colour,
    place_range,
    series_styles,
    shorten,
    stack_starts,
    tick_positions,
    value_range,
    worst_at,
)
from qdiag.report.colours import COLOURS, FURTHER, INK
from tests.report.samples import BARS


def bars(*values: float | None, log_y: bool = False) -> Chart:
    return Chart("bar", "t", (Series("a", values),), tuple(map(str, range(len(values)))), log_y=log_y)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"kind": "bar", "series": (Series("a", (1, 2)),), "names": ("x",)}, "has 2 values for 1 names"),
        ({"kind": "histogram", "series": (Series("a", (1, 2)),), "edges": (0, 1)}, "has 2 values for 1 bins"),
        ({"kind": "line", "series": (Series("a", (1, 2)),), "names": ("x", "x")}, "a name is there twice"),
        ({"kind": "scatter", "series": (Series("a", (1, 2), at=(1.0,)),)}, "has 2 values for 1 places"),
        (
            {"kind": "scatter", "series": (Series("a", (1,), at=(1.0,), labels=("x", "y")),)},
            "has 2 labels for 1 places",
        ),
        ({"kind": "bar", "series": ()}, "no series"),
        ({"kind": "line", "series": (Series("a", ()),), "stacked": True}, "only bars on a linear scale can be stacked"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict, why: str) -> None:
    with pytest.raises(OptionError, match=rf"chart 'SQNR': .*{why}"):
        Chart(title="SQNR", **parts)


def test_the_same_numbers_make_a_table() -> None:
    table = chart_table(BARS)
    assert [column.heading for column in table.columns] == ["layer", "16-bit (dB)", "8-bit (dB)"]
    assert table.rows[1] == (Code("layer1.0.conv1.conv2d"), 51.5, 3.0)


def test_bars_start_at_zero_and_have_a_margin_at_their_ends() -> None:
    assert value_range(bars(10.0, 50.0)) == (0.0, 54.0)
    assert value_range(bars(-10.0, 40.0)) == (-14.0, 44.0)
    assert value_range(bars(-10.0)) == pytest.approx((-10.8, 0.8))


def test_lines_use_the_whole_height() -> None:
    chart = Chart("line", "t", (Series("a", (70.0, 80.0, math.nan, math.inf)),), ("a", "b", "c", "d"))
    assert value_range(chart) == pytest.approx((69.2, 80.8))


def test_a_log_axis_has_room_under_its_least_value() -> None:
    assert value_range(bars(0.0, 0.01, 10.0, -1.0, log_y=True)) == (0.005, 20.0)


def test_an_axis_with_nothing_on_it_has_a_length() -> None:
    for chart in (bars(None, math.inf), bars(0.0), bars(0.0, log_y=True)):
        low, high = value_range(chart)
        assert low < high


def test_a_bar_that_cannot_be_drawn_has_no_length() -> None:
    assert lengths(bars(None, math.inf, 3.0).series[0], bars(None, math.inf, 3.0)) == [0.0, 0.0, 3.0]
    logarithmic = bars(0.0, 8.0, log_y=True)
    assert lengths(logarithmic.series[0], logarithmic) == [4.0, 8.0]


def test_the_worst_is_low_where_higher_is_better() -> None:
    values = (3.0, -1.0, None, math.inf)
    assert worst_at(Series("a", values, higher_is_better=True), range(4)) == 1
    assert worst_at(Series("a", values), range(4)) == 0
    assert worst_at(Series("a", values), [2, 3]) is None


def test_a_lane_keeps_its_colour_in_every_chart() -> None:
    both = Chart("bar", "t", (Series("16-bit", ()), Series("8-bit", ())))
    one = Chart("bar", "t", (Series("advanced", ()), Series("8-bit", ())))
    assert series_styles(both)[1].colour == series_styles(one)[1].colour == COLOURS["8-bit"]
    styles = series_styles(Chart("line", "t", tuple(Series(name, ()) for name in ("a", "b", "8-bit", "float"))))
    assert len({style.colour for style in styles}) == len({style.dash for style in styles}) == 4


def test_what_means_the_same_has_the_same_colour_and_another_dash() -> None:
    both = Series("8-bit", ()), Series("8-bit, added", (), meaning="8-bit")
    network, layer = series_styles(Chart("line", "t", both))
    assert network.colour == layer.colour == COLOURS["8-bit"]
    assert network.dash != layer.dash


def test_a_mark_has_the_colour_of_its_lane() -> None:
    chart = Chart("histogram", "t", (Series("float", (1,)), Series("mine", (1,))), edges=(0, 1))
    assert mark_colour(Mark(1, "end of mine", "mine"), chart) == series_styles(chart)[1].colour == FURTHER[0]
    assert mark_colour(Mark(1, "clip"), chart) == INK


def test_stacked_bars_stand_end_to_end() -> None:
    parts = Series("weights", (1.0, None)), Series("output", (2.0, 5.0)), Series("inherited", (3.0, 1.0))
    stacked = Chart("bar", "t", parts, ("a", "b"), stacked=True)
    assert stack_starts(stacked) == [[0.0, 0.0], [1.0, 0.0], [3.0, 5.0]]
    assert value_range(stacked) == pytest.approx((0.0, 6.48))
    side_by_side = replace(stacked, stacked=False)
    assert stack_starts(side_by_side) == [[0.0, 0.0]] * 3
    assert value_range(side_by_side) == pytest.approx((0.0, 5.4))


def test_a_formats_values_are_drawn_where_they_can_be_told_apart() -> None:
    chart = Chart("histogram", "t", (Series("float", (1, 1)),), edges=(-1.0, 0.0, 1.0))
    assert [draws_grid(replace(chart, x_grid=step)) for step in (0.0, 1 / 64, 1 / 32)] == [False, False, True]


def test_a_short_name_stays_and_a_long_one_keeps_both_ends() -> None:
    assert shorten("conv1", 5) == "conv1"
    assert shorten("features.12.conv.0.conv2d", 16) == "features.1…onv2d"


def test_names_are_written_at_even_steps() -> None:
    assert tick_positions("abcdefghij", 4) == [0, 3, 6, 9]
    assert tick_positions("ab", 4) == [0, 1]


def test_a_scatter_has_room_for_all_points_and_its_diagonal_ends_with_the_shorter_axis() -> None:
    chart = Chart("scatter", "t", (Series("a", (1.0, 3.0), at=(-10.0, 10.0)),), diagonal=True)
    assert place_range(chart) == pytest.approx((-11.6, 11.6))
    assert value_range(chart) == pytest.approx((0.84, 3.16))
    assert diagonal(chart) == value_range(chart)
