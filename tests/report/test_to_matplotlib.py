import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.patches import StepPatch

from qdiag.report.chart import Chart, Series
from qdiag.report.to_matplotlib import draw, png
from tests.report.samples import BARS, COSTS, HISTOGRAM, LAYERS, LINES, SCATTER


def test_bars_have_their_lengths_and_names_from_the_top() -> None:
    axes = draw(BARS).axes[0]
    assert [bar.get_width() for bar in axes.containers[1]] == [12.0, 3.0, 24.0, 30.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(LAYERS)
    assert axes.yaxis_inverted()
    assert {"∞ dB", "51.5 dB", "3.0 dB", "–"} <= {text.get_text() for text in axes.texts}


def test_lines_break_where_a_value_is_missing() -> None:
    axes = draw(LINES).axes[0]
    values = np.asarray(axes.lines[0].get_ydata(), dtype=float)
    np.testing.assert_array_equal(values, [0.001, 0.1, np.nan, 0.01])
    assert axes.get_yscale() == "log"


def test_histograms_have_their_counts_edges_and_marks() -> None:
    axes = draw(HISTOGRAM).axes[0]
    ground, *outlines = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    assert (ground.get_fill(), len(outlines)) == (True, 2)
    values, edges, _ = outlines[0].get_data()
    assert list(values) == [2.0, 30.0, 400.0, 90.0]
    assert list(edges) == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert [float(np.asarray(line.get_xdata())[0]) for line in axes.lines] == [-1.0, 0.992]


def test_stacked_bars_and_a_formats_grid() -> None:
    parts = Series("weights", (1.0,)), Series("output", (2.0,))
    weights, output = draw(Chart("bar", "t", parts, ("a",), stacked=True)).axes[0].containers
    assert (weights[0].get_x(), output[0].get_x(), output[0].get_width()) == (0.0, 1.0, 2.0)
    assert weights[0].get_y() == output[0].get_y()
    assert len(draw(replace(HISTOGRAM, x_grid=0.5)).axes[0].xaxis.get_minorticklocs()) >= 4


@pytest.mark.parametrize("chart", [BARS, LINES, HISTOGRAM, SCATTER, COSTS], ids=lambda chart: chart.title)
def test_pictures_are_clear_where_nothing_is_drawn(chart: Chart) -> None:
    pixels = imread(io.BytesIO(png(chart)))
    alpha = pixels[..., 3]
    assert alpha[0, 0] == 0
    assert 0.02 < (alpha > 0).mean() < 0.9


def test_a_chart_without_layers_is_an_empty_picture() -> None:
    assert draw(Chart("line", "t", (Series("a", ()),))).axes[0].lines[:] == []


def test_pyplot_is_not_used() -> None:
    draw(BARS)
    managers = sys.modules.get("matplotlib._pylab_helpers")
    assert managers is None or not managers.Gcf.figs
