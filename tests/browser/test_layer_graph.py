"""The graph of the network, drawn in a real browser: folded and opened, searched, selected, large networks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from qdiag.workbench.layer_graph import LayerGraph
from tests.browser.bare import carried, carry, render

pytestmark = pytest.mark.browser

STYLE = str(LayerGraph._css)
MEASURES = [
    {"key": "damage", "title": "damage", "unit": "%", "help": "", "adds_up": True, "digits": 1, "colour": "#d55e00"},
    {"key": "error", "title": "error", "unit": "%", "help": "", "adds_up": False, "digits": 1, "colour": "#d55e00"},
]
BOXES = """() => [...document.querySelectorAll('.qd-box')].map(box => {
  const { x, y, width, height } = box.querySelector('rect:not(.qd-ring)').getBBox();
  return [x, y, x + width, y + height]; })"""
CROSSED = """() => {
  const boxes = [...document.querySelectorAll('.qd-box rect:not(.qd-ring)')].map(box => box.getBBox());
  return [...document.querySelectorAll('.qd-line')].reduce((crossed, line) => {
    const length = line.getTotalLength(), points = [];
    for (let at = 0; at <= length; at += 6) points.push(line.getPointAtLength(at));
    return crossed + points.filter(p => boxes.some(b => p.x > b.x + 1 && p.x < b.x + b.width - 1 &&
      p.y > b.y + 1 && p.y < b.y + b.height - 1)).length; }, 0); }"""
TIMED = """wanted => { const start = performance.now(); document.querySelector(`button[title="${wanted}"]`).click();
  document.querySelector('.qd-canvas svg').getBoundingClientRect(); return performance.now() - start; }"""

Layer = tuple[str, Sequence[str]]


def network(layers: Sequence[Layer], edges: Sequence[tuple[int, int]], culprits: Sequence[str] = ()) -> str:
    told = [
        {"name": name, "kind": "any", "modules": modules, "values": [2.0, float(place)], "is_culprit": name in culprits}
        for place, (name, modules) in enumerate(layers)
    ]
    return json.dumps({"layers": told, "edges": edges, "measures": MEASURES, "file": "net.svg"})


def residual(blocks: int) -> tuple[list[Layer], list[tuple[int, int]]]:
    """Blocks of three convolutions with the input added, ten to a stage."""
    layers: list[Layer] = [(":input", [])]
    edges, last = [], 0
    for block in range(blocks):
        stage = f"stage{block // 10}"
        modules = [stage, f"{stage}.{block}"]
        first = len(layers)
        layers += [(f"{modules[1]}.conv{number}", modules) for number in range(3)] + [(f"{modules[1]}:add", modules)]
        edges += [(last, first), (first, first + 1), (first + 1, first + 2), (first + 2, first + 3), (last, first + 3)]
        last = first + 3
    return layers, edges


def dense(blocks: int, depth: int) -> tuple[list[Layer], list[tuple[int, int]]]:
    """Every layer reads all layers before it in its block."""
    layers: list[Layer] = [(":input", [])]
    edges, last = list[tuple[int, int]](), 0
    for block in range(blocks):
        features = [last]
        for number in range(depth):
            modules = [f"block{block}", f"block{block}.{number}"]
            place = len(layers)
            layers += [(f"{modules[1]}{end}", modules) for end in (":cat", ".conv1", ".conv2")]
            edges += [*((feature, place) for feature in features), (place, place + 1), (place + 1, place + 2)]
            features.append(place + 2)
        last = len(layers)
        layers.append((f"transition{block}", []))
        edges += [(feature, last) for feature in features]
    return layers, edges


def show(page: Any, told: str, selected: str = "") -> list[str]:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    render(page, LayerGraph._esm, STYLE, network=told, selection=selected)
    return problems


def apart(boxes: list[list[float]]) -> bool:
    return all(
        a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        for place, a in enumerate(boxes)
        for b in boxes[:place]
    )


def open_all(page: Any) -> float:
    milliseconds: float = page.evaluate(TIMED, "Open all modules")
    return milliseconds


@pytest.mark.parametrize(("name", "graph"), [("residual", residual(25)), ("dense", dense(2, 12))])
def test_no_box_lies_on_another_and_no_line_runs_through_one(name: str, graph: Any, page: Any) -> None:
    problems = show(page, network(*graph))
    open_all(page)
    boxes = page.evaluate(BOXES)
    assert len(boxes) == len(graph[0])
    assert apart(boxes)
    assert page.evaluate(CROSSED) == 0
    assert problems == []


@pytest.mark.parametrize(("name", "graph"), [("residual", residual(100)), ("dense", dense(4, 33))])
def test_400_layers_are_folded_to_what_can_be_read_and_opened_at_once(name: str, graph: Any, page: Any) -> None:
    layers, edges = graph
    culprit = layers[200][0]
    problems = show(page, network(layers, edges, culprits=[culprit]), culprit)
    assert len(layers) > 400
    assert 3 < page.locator(".qd-box").count() < 60
    ringed = page.locator(".qd-box:not(.qd-folded):has(.qd-ring)")
    assert ringed.count() == 1  # what leads to the culprit is open
    assert culprit in ringed.locator("title").text_content()
    assert ringed.get_attribute("aria-selected") == "true"
    assert ringed.is_visible()
    milliseconds = open_all(page)
    assert page.locator(".qd-box").count() == len(layers)
    print(f"{name}, {len(layers)} layers: all opened and drawn in {milliseconds:.0f} ms")
    page.locator('button[title="Fold all modules"]').click()
    assert page.locator(".qd-box").count() < 12
    assert problems == []


def test_a_click_selects_and_a_selection_elsewhere_opens_its_module(page: Any) -> None:
    problems = show(page, network(*residual(40)))
    page.locator('button[title="Fold all modules"]').click()
    assert page.locator(".qd-box").count() == 5
    carry(page, "selection", "stage2.23.conv1")
    selected = page.locator(".qd-box[aria-selected=true]")
    assert "stage2.23.conv1" in selected.locator("title").text_content()
    above, room = selected.bounding_box(), page.locator(".qd-canvas").bounding_box()
    assert room["y"] < above["y"] < room["y"] + room["height"]
    page.locator(".qd-box:not(.qd-folded)", has_text="conv2").first.click()
    assert carried(page, "selection") == "stage2.23.conv2"
    page.locator(".qd-canvas").press("ArrowDown")
    assert carried(page, "selection") == "stage2.23:add"
    page.locator(".qd-canvas").press("ArrowLeft")  # its block is folded
    assert selected.get_attribute("class") == "qd-box qd-folded"
    page.locator(".qd-canvas").press("ArrowRight")
    assert selected.get_attribute("class") == "qd-box"
    assert problems == []


def test_search_goes_from_one_to_the_next(page: Any) -> None:
    show(page, network(*residual(40)))
    page.locator(".qd-search").fill("stage3 conv1")
    assert page.locator(".qd-count").inner_text() == "10 of 161 layers"
    assert page.locator(".qd-box:not(.qd-dim)").count() == 1  # the folded stage that holds all of them
    for name in ("stage3.30.conv1", "stage3.31.conv1"):
        page.locator(".qd-search").press("Enter")
        assert carried(page, "selection") == name


def test_the_reader_chooses_what_colours_and_a_folded_module_adds_up_or_shows_its_worst(page: Any) -> None:
    show(page, network(*residual(10)))
    page.locator('button[title="Fold all modules"]').click()
    folded = page.locator(".qd-folded .qd-figure-of")
    assert folded.text_content() == "80.0"  # ten blocks of four layers, each 2 % of the damage
    page.locator(".qd-graph select").select_option("error")
    assert folded.text_content() == "40.0"  # the last layer is number 40
    fill = "e => getComputedStyle(e).fill"
    strong, weak = (
        page.locator(f".qd-box{css} rect").first.evaluate(fill) for css in (".qd-folded", ":not(.qd-folded)")
    )
    assert strong != weak


def test_the_picture_is_saved_with_its_colours(page: Any, tmp_path: Path) -> None:
    show(page, network(*residual(4)))
    with page.expect_download() as download:
        page.locator("button", has_text="SVG").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "net.svg"
    page.goto(file.as_uri())
    assert page.locator("text", has_text="conv0").count() == 4
    assert "rgb" in page.locator(".qd-line").first.get_attribute("style")


def test_a_line_that_comes_back_to_a_module_is_dashed(page: Any) -> None:
    layers: list[Layer] = [(":input", []), ("a.one", ["a"]), ("b.one", ["b"]), ("a.two", ["a"]), ("b.two", ["b"])]
    problems = show(page, network(layers, [(0, 1), (1, 2), (2, 3), (3, 4)]))
    assert page.locator(".qd-box").count() == 5
    assert page.locator(".qd-line").count() == 4
    assert page.locator(".qd-line.qd-back").count() == 1
    assert problems == []
