"""The page's logic, without a kernel or a browser."""

import json
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
import torch
from torch import Tensor, nn

from qdiag.demo.load import load_demo
from qdiag.errors import OptionError
from qdiag.workbench.lab import copy_notebooks
from qdiag.workbench.picture import Picture
from qdiag.workbench.session import Session
from qdiag.workbench.workbench import Workbench


@pytest.fixture(scope="module")
def bench() -> Workbench:
    demo = load_demo("wild")
    bench = Workbench(demo.model, demo.loader, demo.optimizer, calibration_data=demo.calibration_loader, folder=None)
    bench.run_button.click()
    bench.job.wait(120)
    return bench


def drawn(picture: Picture) -> Any:
    """What the page is told."""
    assert picture.live is not None
    return go.Figure(json.loads(picture.live.figure.value))


def test_the_checks_end_with_the_worst_layer_in_view(bench: Workbench) -> None:
    assert bench.status.value == "Done: 500 images."
    assert bench.layers.choice.value == "block3.depthwise"
    assert "It is quantization" in bench.answer.verdict.value
    assert "99% of the damage" in bench.layers.about.value
    assert "channel 18" in bench.layers.causes.value


def test_lines_table_graph_and_close_look_share_one_selection(bench: Workbench) -> None:
    layers = bench.layers
    assert layers.overview.live is not None
    assert layers.overview.live.selection is layers.table.selection is layers.graph.selection is layers.choice
    names = {name for trace in drawn(layers.overview).data for name in trace.customdata}
    assert names == set(layers.names)
    layers.choice.value = "block2.depthwise"
    close = drawn(layers.close)
    assert [trace.name for trace in close.data if trace.yaxis == "y"] == ["float", "16-bit", "8-bit"]
    assert any("block2.depthwise" in note.text for note in close.layout.annotations)


def test_previous_and_next_go_round(bench: Workbench) -> None:
    bench.select(bench.layers.names[0])
    bench.layers.step(-1)
    assert bench.layers.choice.value == bench.layers.names[-1]
    bench.layers.step(1)
    assert bench.layers.choice.value == bench.layers.names[0]


def test_an_error_of_the_users_model_is_shown_on_the_page() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no <weights> today")

    bench = Workbench(Broken(), [torch.zeros(1, 3, 8, 8)], folder=None)
    bench.run_button.click()
    bench.job.wait(60)
    assert "no &lt;weights&gt; today" in bench.error.value
    assert not bench.run_button.disabled


def test_stop_keeps_the_results_from_before() -> None:
    demo = load_demo("healthy")
    bench = Workbench(demo.model, demo.loader, folder=None)
    bench.run_button.click()
    bench.stop_button.click()
    bench.job.wait(60)
    assert bench.status.value.startswith(("Stopped", "Done"))


def test_two_clicks_start_one_run() -> None:
    demo = load_demo("healthy")
    bench = Workbench(demo.model, demo.loader, folder=None)
    bench.run_checks()
    assert not bench.job.start(iter(()), print)  # type: ignore[arg-type]
    bench.job.wait(120)


def test_a_session_is_driven_without_a_screen() -> None:
    demo = load_demo("wild")
    session = Session(demo.model, demo.loader, calibration_data=demo.calibration_loader, folder=None)
    with pytest.raises(OptionError, match="diagnose"):
        session.inspect("stem")
    session.diagnose()
    detail = session.inspect("stem")
    assert len(detail.channel_high) == len(detail.weight_magnitudes)
    assert sum(detail.counts["8-bit"]) == sum(detail.counts["float"]) > 0
    assert detail is session.inspect("stem")


def test_notebooks_are_copied_and_no_copy_is_overwritten(tmp_path: Path) -> None:
    first = copy_notebooks(tmp_path / "course")
    (first / "01_find_the_layer.ipynb").write_text("edited")
    second = copy_notebooks(tmp_path / "course")
    assert second.name == "course-2"
    assert (first / "01_find_the_layer.ipynb").read_text() == "edited"
