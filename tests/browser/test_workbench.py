"""The workbench in a real JupyterLab: checks, a what-if, training stopped and resumed, an error, a reload."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter

from tests.browser.lab import READY, Lab, jupyterlab, page_errors

pytestmark = pytest.mark.browser
REPOSITORY = Path(__file__).parents[2]

TIMED = """() => {
  const one = document.querySelector('.qd-close .js-plotly-plot');
  document.querySelector('.qd-rows').addEventListener('click', () => { window.clickedAt = performance.now(); }, true);
  one.on('plotly_afterplot', () => { window.drawnAt = performance.now(); }); }"""

STOPPED = """() => {
  const [stop, status] = ['.qd-stop', '.qd-status'].map(css => document.querySelector(css));
  stop.addEventListener('click', () => { window.stopAt = performance.now(); }, true);
  new MutationObserver(() => { if (status.innerText.startsWith('Stopped')) window.stoppedAt ??= performance.now(); })
    .observe(status, {subtree: true, childList: true, characterData: true}); }"""
FOCUSED = "e => e === document.activeElement"
SECOND_LAST = """() => { const [name, row] = ['.qd-about b', '.qd-rows tr[aria-selected=true]'].map(
  css => document.querySelector(css));
  return !row.nextSibling.nextSibling && row.innerText.startsWith(name.innerText); }"""
MARKED = """name => { const chart = document.querySelector('.qd-overview .js-plotly-plot');
  const place = chart.data[0].customdata.indexOf(name);
  return chart.layout.shapes.some(shape => shape.name == 'selected' && shape.x0 == place); }"""
BELOW = "n => document.querySelector('tr[aria-selected=true]').previousSibling?.innerText.includes(n)"
RESTART = """async () => { const context = window.jupyterapp.shell.currentWidget.sessionContext;
  await context.restartKernel(); await context.session.kernel.info; }"""
SHUT_DOWN = "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
# The snapshot comes a moment after the page says that it is done.
FILLED = """() => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells[0].toJSON())
  .includes('Images that are decided otherwise')"""

DEMO = """
import torch
from qdiag import Workbench, load_demo
demo = load_demo("wild")
broken = []
def evaluate(model):
    if broken:
        raise ValueError("no <labels> today")
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in demo.loader) / len(demo.loader.dataset)
bench = Workbench(demo.model, demo.loader, demo.optimizer, evaluate, folder="runs",
                  calibration_data=demo.calibration_loader, training_data=demo.training_loader)
bench
"""
DEEP = """
import torch
from torch import nn
from qdiag import Workbench
torch.manual_seed(0)
layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for _ in range({sites})]
model = nn.Sequential(nn.Conv2d(3, 8, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
bench = Workbench(model, torch.randn(16, 3, 12, 12))
bench
"""


def notebook(path: Path, *cells: str) -> None:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("jupyter")
    notebook(home / "demo.ipynb", DEMO, "broken.append(True)")
    for name in ("keyboard", "snapshot", "screen"):
        notebook(home / f"{name}.ipynb", DEMO.replace('folder="runs"', f'folder="{name}"'))
    for sites in (150, 500):
        notebook(home / f"deep{sites}.ipynb", DEEP.format(sites=sites))
    with jupyterlab(home) as running:
        yield running


@pytest.fixture
def problems(page: Any) -> list[str]:
    """Errors of the page's own scripts."""
    page.set_viewport_size({"width": 1440, "height": 900})
    return page_errors(page)


def run_cell(page: Any, number: int) -> None:
    page.evaluate(f"() => {{ window.jupyterapp.shell.currentWidget.content.activeCellIndex = {number}; }}")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")


def view(page: Any, name: str) -> None:
    page.locator(".qd-view button", has_text=name).click()


def until(page: Any, css: str, pattern: str) -> str:
    """Wait until the text of an element matches, and return it."""
    page.locator(css, has_text=re.compile(pattern)).first.wait_for()
    text: str = page.locator(css).first.inner_text()
    return text


def test_a_change_is_tried_applied_and_undone_and_training_is_stopped_and_resumed(
    lab: Lab, page: Any, problems: list[str], record_property: Callable[[str, object], None]
) -> None:
    outside = lab.open(page, "demo.ipynb")
    run_cell(page, 0)
    page.locator(".qd-run").click()
    until(page, ".qd-status", "^Done")
    until(page, ".qd-verdict", "It is quantization")

    assert page.locator(".qd-next-step .qd-suggest").inner_text() == "Equalize channels"
    view(page, "Why")
    page.locator(".qd-suggestions .qd-suggest", has_text="Per-channel weights: block3.depthwise").click()
    assert re.search(r"→ 9\d\.\d %", until(page, ".qd-effect", "block3.depthwise: per-channel"))
    page.locator(".qd-apply-tried").click()
    until(page, ".qd-figures", "applied block3.depthwise: per-channel")
    view(page, "Versions")
    assert page.locator(".qd-versions", has_text="block3.depthwise: per-channel").count() == 1
    page.locator(".qd-undo").click()
    until(page, ".qd-figures", "applied simple")
    page.locator(".qd-code").click()
    until(page, ".qd-code-text", "what_if")

    view(page, "Calibrate")
    page.locator(".qd-epochs input").fill("40")
    page.locator(".qd-epochs input").press("Enter")
    page.locator(".qd-train").click()
    until(page, ".qd-status", r"epoch [2-9] of 40")
    assert page.locator(".qd-curve").count() == 2  # loss and accuracy
    page.locator(".qd-curve").first.wait_for()
    before = page.locator(".qd-curve").first.get_attribute("src")
    page.wait_for_function("s => document.querySelector('.qd-curve').src != s", arg=before)  # the curve moves

    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.locator(".qd-status", has_text=re.compile("epoch")).wait_for()  # the page comes back, the run still goes
    assert page.locator(".js-plotly-plot").count() <= 2  # with more the page does not come back
    page.evaluate(STOPPED)
    page.locator(".qd-stop").click()
    until(page, ".qd-status", "^Stopped")
    milliseconds = page.evaluate("() => Math.round(window.stoppedAt - window.stopAt)")
    record_property("stop_ms", milliseconds)
    print(f"{milliseconds} ms from Stop to stopped")
    view(page, "Calibrate")
    page.locator(".qd-resume").wait_for()
    assert page.locator(".qd-resume").inner_text() == "Resume QAT-1"
    page.locator(".qd-resume").click()
    until(page, ".qd-status", r"epoch \d+ of 40")
    until(page, ".qd-status", "^Done")
    view(page, "Versions")
    until(page, ".qd-versions", "QAT-1")
    page.locator(".qd-history tbody tr", has_text="per-channel").first.click()
    page.wait_for_function("() => document.querySelector('.qd-version input').value.includes('per-channel')")
    page.locator(".qd-title input").fill("one scale each")
    page.locator(".qd-annotate").click()
    until(page, ".qd-versions", "one scale each")
    for name in ("simple", "one scale each"):
        page.get_by_label(f"compare {name}", exact=True).check()
    page.locator(".qd-by-layer").click()
    until(page, ".qd-code-text", "float against simple and block3.depthwise: per-channel")
    page.locator(".qd-costs .js-plotly-plot").wait_for()

    run_cell(page, 1)  # from here on the user's own evaluate raises
    view(page, "Layers")
    page.locator(".qd-try").click()
    until(page, ".qd-what-if-trouble", "no <labels> today")
    until(page, ".qd-failure", "ValueError: no <labels> today")
    until(page, ".qd-failure", r"raised in your code, at In \[\d+\]:7 in evaluate")
    page.locator(".qd-run:enabled").wait_for()

    page.evaluate(RESTART)
    run_cell(page, 0)
    assert "simple, block3.depthwise: per-channel, QAT-1" in until(page, ".qd-earlier", "QAT-1")
    page.locator(".qd-restore").click()
    view(page, "Versions")
    until(page, ".qd-versions", "QAT-1")
    until(page, ".qd-verdict", "applied simple")
    page.locator(".qd-run").click()  # the restored version is looked at
    until(page, ".qd-verdict", "It is quantization")
    assert outside == []
    assert problems == []


def press(page: Any, css: str, key: str, **filters: Any) -> None:
    """A key on a control, once it holds the focus: JupyterLab may take it where an output of the cell is redrawn."""
    control = page.locator(css, **filters)
    for _ in range(10):
        control.focus()
        page.wait_for_timeout(500)
        if control.evaluate(FOCUSED):
            break
    assert control.evaluate(FOCUSED)
    page.keyboard.press(key)


def test_it_works_by_keyboard(lab: Lab, page: Any, problems: list[str]) -> None:
    lab.open(page, "keyboard.ipynb")
    run_cell(page, 0)
    press(page, ".qd-run", key="Enter")
    until(page, ".qd-status", "^Done")
    press(page, ".qd-run", key="Tab")  # over Stop, which is not to be had now
    assert "qd-html" in page.evaluate("() => document.activeElement.className")

    assert not page.locator(".qd-reasons").is_visible()
    press(page, ".qd-view button", has_text="Why", key="Enter")
    until(page, ".qd-reasons", "block3.depthwise")
    press(page, ".qd-view button", has_text="Layers", key="Enter")
    press(page, ".qd-rows tbody", key="End")
    page.keyboard.press("ArrowUp")
    page.wait_for_function(SECOND_LAST)

    press(page, ".qd-layer input", key="Control+A")
    page.keyboard.type("block1.pointwise")
    page.keyboard.press("Enter")
    until(page, ".qd-about", "^block1.pointwise")
    press(page, ".qd-next", key="Space")
    until(page, ".qd-about", "^block2.depthwise")
    press(page, ".qd-what-if-change button", has_text="per-channel", key="Space")
    press(page, ".qd-try", key="Enter")
    until(page, ".qd-effect", "block2.depthwise: per-channel.*→")
    press(page, ".qd-apply-tried", key="Enter")
    until(page, ".qd-figures", "applied block2.depthwise: per-channel")
    cells = page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")
    assert cells == 1  # no key went to the notebook
    assert problems == []


def test_what_it_showed_is_in_the_notebook_without_a_kernel(lab: Lab, page: Any, problems: list[str]) -> None:
    lab.open(page, "snapshot.ipynb")
    run_cell(page, 0)
    page.locator(".qd-run").click()
    until(page, ".qd-status", "^Done")
    view(page, "Images")
    page.locator(".qd-look").click()
    until(page, ".qd-images", "right → wrong")
    pictures = page.locator(".qd-images .qd-pictures img")
    assert pictures.count() == 24
    assert pictures.first.evaluate("e => e.complete && e.naturalWidth") > 8
    page.wait_for_function(FILLED)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    shown = page.locator(".jp-OutputArea-output")
    assert "What to do next" not in " ".join(shown.all_inner_texts())  # here the page itself is seen, and no snapshot
    saved = nbformat.read(lab.home / "snapshot.ipynb", 4)
    html, _ = HTMLExporter().from_notebook_node(saved)
    assert "It is quantization" in html
    assert "What to do next" in html
    assert "Images that are decided otherwise" in html

    page.evaluate(SHUT_DOWN)
    page.reload()  # as the notebook is opened the next day: JupyterLab starts a kernel that knows no widget
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext")
    page.evaluate(READY)
    snapshot = page.locator(".qd-snapshot")
    snapshot.wait_for()
    page.wait_for_timeout(5000)  # as long as JupyterLab looks for widgets
    seen = " ".join(page.locator(".jp-OutputArea").all_inner_texts())
    for words in ("What the workbench showed last", "It is quantization", "Images that are decided otherwise"):
        assert words in seen
    assert "Error displaying widget" not in seen
    assert snapshot.locator("table").first.is_visible()
    assert snapshot.locator("img").first.evaluate("e => e.complete && e.naturalWidth") > 8
    run_cell(page, 0)
    page.locator(".qd-workbench").wait_for()
    page.locator(".qd-snapshot").wait_for(state="hidden")
    assert 'src="data:image/png;base64' in html
    assert problems == []


@pytest.mark.parametrize("sites", [150, 500])
def test_a_deep_network_is_shown_and_walked(
    sites: int, lab: Lab, page: Any, problems: list[str], record_property: Callable[[str, object], None]
) -> None:
    outside = lab.open(page, f"deep{sites}.ipynb")
    run_cell(page, 0)
    page.locator(".qd-run").click()
    until(page, ".qd-status", "^Done")
    about = page.locator(".qd-about")
    page.locator(".qd-close .js-plotly-plot").wait_for()
    before = about.inner_text()
    page.locator(".qd-next").click()
    page.wait_for_function("t => document.querySelector('.qd-about').innerText != t", arg=before)
    before = about.inner_text()
    page.evaluate(TIMED)
    page.locator(".qd-rows tbody tr").nth(20).click()
    page.wait_for_function("t => document.querySelector('.qd-about').innerText != t", arg=before)
    page.wait_for_function("() => window.drawnAt > window.clickedAt")
    milliseconds = page.evaluate("() => Math.round(window.drawnAt - window.clickedAt)")
    record_property("click_to_redraw_ms", milliseconds)
    print(f"{sites} layers: {milliseconds} ms from click to redraw")
    assert outside == []
    assert problems == []


def test_one_selection_is_marked_in_table_lines_graph_and_close_look(lab: Lab, page: Any, problems: list[str]) -> None:
    lab.open(page, "deep150.ipynb")
    run_cell(page, 0)
    page.locator(".qd-run").click()
    until(page, ".qd-status", "^Done")
    page.locator(".qd-overview .js-plotly-plot").wait_for()
    rows, selected = page.locator(".qd-rows tbody tr"), page.locator(".qd-rows tr[aria-selected=true]")
    assert rows.count() > 150

    page.locator(".qd-layer-table .qd-search").fill("7.0 conv2d")
    shown = page.locator(".qd-rows tbody tr:not([hidden])")
    assert 0 < shown.count() < 30
    name = shown.last.locator("th").inner_text()
    shown.last.click()
    until(page, ".qd-about", rf"^{re.escape(name)} ")
    assert selected.locator("th").inner_text() == name
    page.wait_for_function(MARKED, arg=name)

    page.locator(".qd-layer-table .qd-search").fill("")
    page.locator(".qd-rows thead button", has_text="#").click()
    assert rows.first.locator("th").inner_text() == ":input"
    page.locator(".qd-next").click()  # the next in the forward is the row below
    page.wait_for_function(BELOW, arg=name)
    box, pane = selected.bounding_box(), page.locator(".qd-rows").bounding_box()
    assert pane["y"] <= box["y"] <= pane["y"] + pane["height"] - box["height"]  # scrolled to, in its own pane

    page.locator(".qd-form button", has_text="Graph").click()
    marked = page.locator(".qd-box[aria-selected=true]")
    marked.wait_for()
    assert not page.locator(".qd-rows").is_visible()
    page.locator(".qd-graph .qd-search").fill("90.0")
    page.locator(".qd-graph .qd-search").press("Enter")
    until(page, ".qd-about", r"^\S*90\.0")
    page.locator(".qd-canvas").press("ArrowUp")
    until(page, ".qd-about", r"^\S*89\.0")
    name = selected.locator("th").text_content()
    assert marked.locator("title").text_content().startswith(name)
    assert problems == []


@pytest.mark.parametrize("width", [1440, 700])
def test_nothing_that_is_needed_lies_below_the_screen(width: int, lab: Lab, page: Any, problems: list[str]) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    lab.open(page, "screen.ipynb")
    run_cell(page, 0)
    page.locator(".qd-run").click()
    until(page, ".qd-status", "^Done")
    page.locator(".qd-workbench").evaluate("e => e.scrollIntoView({block: 'start'})")
    page.locator(".qd-rows tbody tr").nth(2).click()
    for css in (".qd-stop", ".qd-verdict-line", ".qd-figures", ".qd-next-step .qd-suggest", ".qd-layer", ".qd-view"):
        box = page.locator(css).bounding_box()
        assert 0 <= box["x"] < width, css
        assert 0 <= box["y"] <= 900 - box["height"], css
    is_wide = width > 1000
    assert page.locator(".qd-detail").is_visible() == is_wide
    assert page.locator(".qd-side").is_visible() != is_wide
    if not is_wide:
        page.locator(".qd-side button", has_text="Selected").click()
    page.locator(".qd-close .js-plotly-plot").wait_for()
    assert page.locator(".qd-master").is_visible() == is_wide
    drawn, room = (page.locator(css).bounding_box()["width"] for css in (".qd-close .main-svg >> nth=0", ".qd-detail"))
    assert 0.9 * room < drawn <= room  # figures are as wide as their column
    assert problems == []
