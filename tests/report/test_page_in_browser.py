"""The page as its reader meets it: in Chromium, with no network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from qdiag.report.cells import Badge, Code
from qdiag.report.chart import Chart, Series
from qdiag.report.elements import Report, Section, Text
from qdiag.report.levels import Level
from qdiag.report.table import Column, Table
from tests.report.samples import EVERY_KIND, LAYERS, Shown

pytestmark = pytest.mark.browser


def ten_rows() -> Table:
    sqnr = (12.5, None, 3.0, float("inf"), 100.0, 7.0, float("nan"), -1.0, 20.0, 30.0)
    levels: tuple[Level, ...] = ("note", "ok", "error", "warning", "note", "note", "ok", "error", "note", "note")
    rows = tuple((Code(f"conv{i}"), sqnr[i], Badge(levels[i], levels[i])) for i in range(10))
    return Table((Column("site", "Layer"), Column("sqnr_db", "SQNR", "dB", ".1f", "right"), Column("l", "Level")), rows)


Open = Callable[[Report], Page]


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Iterator[Open]:
    """Opens a report in the page, offline; afterwards asserts that it raised nothing and asked for nothing."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: faults.append(request.url) if request.url.startswith(("http", "ws")) else None)
    page.context.set_offline(True)

    def open_report(report: Report) -> Page:
        page.goto(Shown(report).to_html(tmp_path / "report.html").as_uri())
        return page

    yield open_report
    assert faults == []


def column(page: Page, index: int) -> list[str]:
    return page.locator(f".qd-table tbody tr:visible td:nth-child({index + 1})").all_inner_texts()


def test_every_chart_is_drawn_when_it_comes_into_view(opened: Open) -> None:
    page = opened(EVERY_KIND)
    plots = page.locator(".qd-plot:visible")
    assert plots.count() == 4
    for index in range(4):
        plots.nth(index).scroll_into_view_if_needed()
        plots.nth(index).locator(".main-svg").first.wait_for()
    hidden = page.locator("#at-layer1\\.0\\.conv1\\.conv2d")
    assert hidden.locator(".main-svg").count() == 0
    hidden.locator("summary").first.click()
    hidden.locator(".main-svg").first.wait_for()


def test_a_click_on_a_heading_sorts_and_missing_values_come_last(opened: Open) -> None:
    page = opened(Report("t", (ten_rows(),), "test"))
    page.get_by_role("button", name="SQNR").click()
    upwards = ["-1.0", "3.0", "7.0", "12.5", "20.0", "30.0", "100.0", "∞"]
    assert column(page, 1) == [*upwards, "–", "nan"]
    page.get_by_role("button", name="SQNR").press("Enter")
    assert column(page, 1) == [*upwards[::-1], "–", "nan"]
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "descending"


def test_badges_sort_by_how_grave_they_are(opened: Open) -> None:
    page = opened(Report("t", (ten_rows(),), "test"))
    page.get_by_role("button", name="Level").click()
    assert column(page, 0)[:3] == ["conv2", "conv7", "conv3"]


def test_the_box_keeps_rows_that_have_all_the_words(opened: Open) -> None:
    page = opened(Report("t", (ten_rows(),), "test"))
    page.get_by_label("Filter rows").fill("ERROR conv7")
    assert column(page, 0) == ["conv7"]
    assert page.get_by_text("1 of 10 rows").is_visible()


def test_a_click_on_a_bar_opens_the_layers_section(opened: Open) -> None:
    page = opened(EVERY_KIND)
    page.set_viewport_size({"width": 1200, "height": 1400})
    section = page.locator("#at-layer1\\.0\\.conv1\\.conv2d")
    assert section.get_attribute("open") is None
    bars = page.locator(".qd-plot").first
    bars.scroll_into_view_if_needed()
    bar = bars.locator(".barlayer .trace").nth(1).locator(".point path").nth(LAYERS.index("layer1.0.conv1.conv2d"))
    box = bar.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    bars.locator(".hoverlayer .legend").wait_for()
    assert "3.0 dB" in (bars.locator(".hoverlayer .legend").text_content() or "")
    page.mouse.down()
    page.mouse.up()
    page.wait_for_function("location.hash === '#at-layer1.0.conv1.conv2d'")
    section.get_by_text("Repair").wait_for()
    assert section.evaluate("details => details.open && details.contains(document.activeElement)")


def test_a_name_in_a_table_opens_its_section_again_and_again(opened: Open) -> None:
    page = opened(EVERY_KIND)
    section = page.locator("#at-fc\\.linear")
    for _ in range(2):  # the second time the address does not change
        page.locator("td a", has_text="fc.linear").first.click()
        section.get_by_text("Nothing to see.").wait_for()
        section.locator("summary").click()
        assert section.get_attribute("open") is None


def test_an_address_opens_a_section_inside_another(opened: Open) -> None:
    inner = Section("Inner", (Text("found"),), anchor="a.b#1", collapsed=True)
    page = opened(Report("t", (Section("Outer", (inner,), collapsed=True),), "test"))
    page.goto(page.url + "#at-a.b_231")
    page.reload()
    page.get_by_text("found").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_take_the_themes_ink(browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]) -> None:
    inks = {"light": "rgb(31, 35, 40)", "dark": "rgb(226, 229, 233)"}
    chart = Chart("bar", "t", (Series("8-bit", (1.0,)),), ("conv1",), y_title="SQNR in dB")
    page = browser.new_page(color_scheme=scheme)
    page.goto(Shown(Report("t", (chart,), "test")).to_html(tmp_path / "report.html").as_uri())
    ink = "element => getComputedStyle(element).fill"
    title = page.locator(".xtitle")
    title.wait_for()
    assert title.evaluate(ink) == inks[scheme]
    other: Literal["light", "dark"] = "dark" if scheme == "light" else "light"
    page.emulate_media(color_scheme=other)
    page.wait_for_function("ink => getComputedStyle(document.querySelector('.xtitle')).fill === ink", arg=inks[other])
    page.close()


@pytest.mark.parametrize("width", [480, 1400])
def test_the_page_is_never_wider_than_the_screen(opened: Open, width: int) -> None:
    page = opened(EVERY_KIND)
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
