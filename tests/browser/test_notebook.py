"""The guided notebook in a real JupyterLab: run all, click a layer, see its histogram."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.lab import Lab, jupyterlab, page_errors

pytestmark = pytest.mark.browser
REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = "01_find_the_layer.ipynb"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("jupyter")
    shutil.copy(REPOSITORY / "notebooks" / NOTEBOOK, home)
    with jupyterlab(home) as running:
        yield running


def click(page: Any, box: dict[str, float], x: float = 0.5, y: float = 0.5) -> None:
    """A click that plotly takes: hovering first, since its drag layer lies over the marks."""
    page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    page.locator(".js-plotly-plot .hoverlayer > g").first.wait_for()
    page.mouse.down()
    page.mouse.up()


def test_run_all_then_click_a_layer_and_see_it(lab: Lab, page: Any) -> None:
    problems = page_errors(page)
    page.set_viewport_size({"width": 1440, "height": 900})
    outside = lab.open(page, NOTEBOOK)
    assert lab.run_all(page) == []
    page.locator(".qd-status", has_text="Done").wait_for()
    about = page.locator(".qd-about")
    page.locator(".qd-about", has_text="block3.depthwise").wait_for()  # the worst is shown first
    lab.show(page, ".qd-workbench")
    plots = page.locator(".qd-workbench .js-plotly-plot")
    plots.nth(1).wait_for(state="attached")  # a chart is drawn after the words beside it
    assert plots.count() == 2

    rows = page.locator(".qd-rows tbody tr")
    assert rows.count() == 14
    before = about.inner_text()
    rows.nth(1).click()
    page.wait_for_function("t => document.querySelector('.qd-about').innerText != t", arg=before)
    lines = page.locator(".qd-close .scatterlayer .trace")
    lines.first.wait_for()
    assert lines.count() >= 3  # float, 16 bit and 8 bit

    before = about.inner_text()
    page.locator(".qd-next").click()
    page.wait_for_function("t => document.querySelector('.qd-about').innerText != t", arg=before)
    click(page, page.locator(".qd-overview .nsewdrag").bounding_box(), x=0.06)
    page.locator(".qd-about", has_text=":input").wait_for()
    assert page.locator(".qd-rows tr[aria-selected=true] th").inner_text() == ":input"

    results = REPOSITORY / "test-results"
    results.mkdir(exist_ok=True)
    page.screenshot(path=results / "notebook.png")
    assert outside == []
    assert problems == []
