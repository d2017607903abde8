"""A report as HTML: a fragment for notebooks, still and light, and a page of its own with live charts."""

import base64
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from qdiag.report.cells import Badge, Cell, cell_text
from qdiag.report.chart import Chart, chart_table
from qdiag.report.colours import COLOURS
from qdiag.report.elements import Block, Report, Section, charts_in, walk
from qdiag.report.inline import paragraphs
from qdiag.report.levels import LEVELS
from qdiag.report.numbers import format_number
from qdiag.report.to_json import encode

_MOST_ROWS_IN_NOTEBOOK = 60


def render_page(report: Report) -> str:
    """A whole document: nothing is fetched, neither from a network nor from a file beside it."""
    ids = section_ids(report.blocks)
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            live=True,
            ids=ids,
            anchors=anchor_ids(report.blocks, ids),
            plotly=_plotly() if charts_in(report) else None,
        )
    )


def render_fragment(report: Report) -> str:
    """A part of a notebook: charts are pictures, so that they show wherever the notebook is looked at."""
    return _environment().get_template("fragment.html").render(report=report, live=False, ids={}, anchors={})


def section_ids(blocks: Sequence[Block]) -> dict[int, str]:
    """The HTML id of each section, by the section's `id()`: made of its anchor, else of its number."""
    ids: dict[int, str] = {}
    for number, section in enumerate((block for block in walk(blocks) if isinstance(block, Section)), start=1):
        wished = f"at-{_slug(section.anchor)}"
        ids[id(section)] = wished if section.anchor and wished not in ids.values() else f"section-{number}"
    return ids


def anchor_ids(blocks: Sequence[Block], ids: dict[int, str]) -> dict[str, str]:
    """The HTML id of the first section about each name."""
    found: dict[str, str] = {}
    for block in walk(blocks):
        if isinstance(block, Section) and block.anchor:
            found.setdefault(block.anchor, ids[id(block)])
    return found


def sort_key(cell: Cell) -> str | None:
    """The number that a page sorts the cell by, in JavaScript's words; "" for a missing one, None to sort by text."""
    match cell:
        case None:
            return ""
        case Badge():
            return str(list(LEVELS).index(cell.level))
        case bool() | int() | float():
            return str(encode(float(cell)))
        case _:
            return None


def _contents(blocks: Sequence[Block]) -> list[Section]:
    """The outermost sections, without details about one layer: to those its name leads, wherever it stands."""
    return [block for block in blocks if isinstance(block, Section) and not (block.collapsed and block.anchor)]


def _slug(name: str) -> str:
    """The name in characters that need no escape in a link."""
    return re.sub(r"[^\w.-]", lambda match: f"_{ord(match[0]):x}", name)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("qdiag.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        kind=lambda value: type(value).__name__.lower(),
        identity=id,
        paragraphs=paragraphs,
        cell_text=cell_text,
        sort_key=sort_key,
        number=format_number,
        numbers_table=chart_table,
        figure=_figure,
        picture=_picture,
    )
    environment.globals.update(
        contents=_contents, levels=LEVELS, colours=COLOURS, most_rows_in_notebook=_MOST_ROWS_IN_NOTEBOOK
    )
    return environment


def _figure(chart: Chart) -> dict[str, Any]:
    """For plotly.js, which draws the picture without its title: the page sets that in its own type."""
    from qdiag.report.to_plotly import figure

    made: dict[str, Any] = json.loads(figure(chart, with_title=False).to_json())
    return made


def _picture(chart: Chart) -> str:
    from qdiag.report.to_matplotlib import png

    return "data:image/png;base64," + base64.b64encode(png(chart, with_title=False)).decode()


@cache
def _plotly() -> dict[str, Any]:
    from plotly.offline import get_plotlyjs

    from qdiag.report.to_plotly import CONFIG

    return {"javascript": get_plotlyjs(), "config": CONFIG}
