import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from qdiag.report.cells import Badge, Cell, Code, Place
from qdiag.report.chart import Chart, Mark, Series
from qdiag.report.elements import Callout, Fact, Facts, Listing, Report, Section, Text
from qdiag.report.table import Column, Table
from qdiag.report.to_html import anchor_ids, render_fragment, render_page, section_ids, sort_key
from tests.report.golden import assert_golden
from tests.report.samples import EVERY_KIND

EVIL = """</script></style><qdevil>"'&{{ 7 * 7 }}"""


class Reader(HTMLParser):
    """All tags with their attributes, and the text that stands between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def stripped(html: str) -> str:
    """Without what is long and has tests of its own: styles, scripts, pictures; and without empty lines."""
    html = re.sub(r"(<style>|<script[^>]*>).*?(</style>|</script>)", r"\1…\2", html, flags=re.DOTALL)
    html = re.sub(r'(src="data:image/png;base64,)[^"]*', r"\1…", html)
    return "\n".join(line.rstrip() for line in html.splitlines() if line.strip())


def evil_report() -> Report:
    table = Table(
        (Column("a", EVIL, EVIL, help=EVIL), Column("b", "b"), Column("c", "c"), Column("d", "d")),
        ((EVIL, Code(EVIL), Badge(EVIL, "note"), Place(EVIL, 1)),),
        title=EVIL,
        caption=EVIL,
    )
    chart = Chart("bar", EVIL, (Series(EVIL, (1.0,), EVIL),), (EVIL,), x_title=EVIL, y_title=EVIL, caption=EVIL)
    histogram = Chart("histogram", EVIL, (Series(EVIL, (1.0,)),), edges=(0.0, 1.0), marks=(Mark(0.5, EVIL),))
    facts = Facts((Fact(EVIL, EVIL, EVIL),))
    inner = (Text(EVIL), Listing(EVIL, EVIL), Callout("note", EVIL, EVIL), facts, table, chart, histogram)
    return Report(EVIL, (Section(EVIL, inner, anchor=EVIL), Section("b", ())), "test")


def test_every_kind_of_block_is_in_the_fragment() -> None:
    assert_golden("fragment.html", stripped(render_fragment(EVERY_KIND)))


def test_every_kind_of_block_is_on_the_page() -> None:
    assert_golden("page.html", stripped(render_page(EVERY_KIND)))


@pytest.mark.parametrize("render", [render_fragment, render_page])
def test_a_users_words_are_no_markup(render: Callable[[Report], str]) -> None:
    html = stripped(render(evil_report()))
    read = Reader(html)
    assert "qdevil" not in {tag for tag, _ in read.tags}
    assert EVIL in read.text
    assert "49" not in read.text


def test_a_users_words_do_not_end_a_script() -> None:
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", render_page(evil_report()), flags=re.DOTALL)
    assert not any("qdevil>" in script for script in scripts)
    assert sum("qdevil" in script for script in scripts) == 3  # two charts and the anchors


@pytest.mark.parametrize("render", [render_fragment, render_page])
def test_nothing_is_loaded_from_anywhere(render: Callable[[Report], str]) -> None:
    html = render(EVERY_KIND)
    for tag, attributes in Reader(stripped(html)).tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles


def test_plotly_is_on_the_page_once_and_only_for_charts() -> None:
    version = "plotly.js v"
    assert render_page(EVERY_KIND).count(version) == 1
    assert version not in render_page(Report("t", (Text("no chart"),), "test"))


def test_a_notebook_cuts_long_tables_and_a_page_does_not() -> None:
    columns = (Column("site", "Layer"), *(Column(f"m{i}", f"M{i}", "dB", ".1f", "right") for i in range(12)))
    rows: list[tuple[Cell, ...]] = [(Code(f"layer{i}"), *map(float, range(12))) for i in range(500)]
    report = Report("t", (Table(columns, tuple(rows)),), "test")
    assert Reader(render_page(report)).tags.count(("tr", {})) == 501
    fragment = Reader(render_fragment(report))
    assert fragment.tags.count(("tr", {})) == 61
    assert "… 440 more rows" in fragment.text


def test_a_notebook_does_not_draw_what_is_collapsed() -> None:
    pictures = [attributes["alt"] for tag, attributes in Reader(render_fragment(EVERY_KIND)).tags if tag == "img"]
    shown = ["image 7: cat → dog", "image 3 & <more>", "Values of the output", "Accuracy against cost"]
    assert pictures == ["Worst layers", "Error along the network", *shown]


def test_ids_are_one_of_a_kind_and_the_first_section_of_a_name_is_its_anchor() -> None:
    blocks = (
        Section("One", (Section("Inner", (), anchor="a.b#1"),)),
        Section("Two", (), anchor="a.b#1"),
        Section("Three", ()),
    )
    ids = section_ids(blocks)
    assert list(ids.values()) == ["section-1", "at-a.b_231", "section-3", "section-4"]
    assert anchor_ids(blocks, ids) == {"a.b#1": "at-a.b_231"}


def test_cells_sort_by_what_they_are() -> None:
    cells = (None, Badge("x", "warning"), 3, True, float("inf"), float("nan"), "text", Code("c"))
    assert [sort_key(cell) for cell in cells] == ["", "1", "3.0", "1.0", "Infinity", "NaN", None, None]
