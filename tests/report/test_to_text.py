import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from qdiag.report.cells import Code
from qdiag.report.chart import Chart, Series
from qdiag.report.elements import Report, Section, Text
from qdiag.report.table import Column, Table
from qdiag.report.to_text import print_text, render_text
from tests.report.golden import assert_golden
from tests.report.samples import EVERY_KIND


def report(*blocks: Table | Chart | Section) -> Report:
    return Report("t", blocks, "test")


def wide_table(rows: int, why: str = "short") -> Table:
    columns = (Column("layer", "Layer"), *(Column(f"m{i}", f"Metric {i}", align="right") for i in range(12)))
    return Table((*columns, Column("why", "Why")), tuple((Code(f"conv{i}"), *[1.5] * 12, why) for i in range(rows)))


@pytest.mark.parametrize("width", [80, 160])
def test_every_kind_of_block_reads_well(width: int) -> None:
    assert_golden(f"text_{width}.txt", render_text(EVERY_KIND, width))


def test_everything_opens_what_is_collapsed() -> None:
    assert_golden("text_100_everything.txt", render_text(EVERY_KIND, 100, everything=True))


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    for everything in (False, True):
        text = render_text(EVERY_KIND, width, everything)
        assert max(map(cell_len, text.splitlines())) <= width


def test_a_long_table_says_what_it_leaves_off() -> None:
    table = Table((Column("n", "N"),), tuple((i,) for i in range(500)))
    assert "460 more rows" in render_text(report(table), 80)
    assert "\n499" in render_text(report(table), 80, everything=True)


def test_a_long_table_of_numbers_keeps_its_first_columns() -> None:
    text = render_text(report(wide_table(13)), 80)
    # a name of 6 and columns of 6, with gaps of 2: 9 metrics end at column 78
    assert text.splitlines()[3].split() == ["Layer", *"012345678"]
    assert "… more columns: Metric 9, Metric 10, Metric 11, Why; by .print(everything=True)" in text


@pytest.mark.parametrize("table", [wide_table(12), wide_table(13, "a sentence that is longer than forty characters")])
def test_short_tables_and_those_with_sentences_become_records(table: Table) -> None:
    lines = render_text(report(table), 80).splitlines()
    assert lines[2] == "conv0"
    assert " ".join(lines[3].split()) == "Metric 0: 1.50 Metric 1: 1.50 Metric 2: 1.50 Metric 3: 1.50"


def test_colour_is_for_consoles_that_have_it() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    print_text(EVERY_KIND, Console(file=plain, width=80))
    print_text(EVERY_KIND, Console(file=coloured, width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[" not in plain.getvalue()
    assert "\x1b[1;31m✖ 8 bits cost 10.7 points.\x1b[0m" in coloured.getvalue()


def test_many_layers_share_a_character_that_shows_the_worst() -> None:
    values = [20.0] * 500
    values[317] = 1.0
    series = Series("8-bit", tuple(values), "dB", ".1f", higher_is_better=True)
    chart = Chart("line", "SQNR", (series,), tuple(f"layer{i}" for i in range(500)))
    strip, size, worst = render_text(report(chart), 80).splitlines()[3:]
    # 80 columns less the name and a gap of 2 leave 73: 7 layers each, the 46th character holds layers 315 to 321
    assert strip == "8-bit  " + "█" * 45 + "▁" + "█" * 26
    assert size == "one character for 7 layers, the worst of them"
    assert worst == "8-bit: worst 1.0 dB at layer317"


def test_collapsed_sections_are_named_together() -> None:
    sections = [Section(name, (Text("hidden"),), collapsed=True) for name in ("conv1", "conv2")]
    text = render_text(report(*sections), 100)
    assert text.splitlines()[-1] == "▸ more by .print(everything=True) or .to_html(): conv1, conv2"
    assert "hidden" not in text


def test_charts_without_layers_say_so() -> None:
    text = render_text(report(Chart("bar", "SQNR", (Series("8-bit", ()),))), 80)
    assert text.splitlines()[2:] == ["SQNR", "  (none)"]


def test_names_do_not_steer_the_terminal() -> None:
    title = "Lint of ../\x1b[31mNet"
    table = Table((Column("site", "site"),), ((Code("conv\x1b]0;owned\x9c"),),), "Layers\x1b[2J")
    report = Report(title, (table, Text("of\x1b[1m words")), "lint", {})
    coloured = io.StringIO()
    print_text(report, Console(file=coloured, width=80, color_system=None, force_terminal=False))
    for shown in (render_text(report, 80), coloured.getvalue()):
        assert not {"\x1b", "\x9c"} & set(shown)
        assert r"Lint of ../\x1b[31mNet" in shown
