"""The elements of a report: every kind of block, and the report of them, as plain data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qdiag.report.chart import Chart
from qdiag.report.levels import Level
from qdiag.report.table import Table


@dataclass(frozen=True)
class Text:
    """Paragraphs, parted by an empty line. **bold** and `code` are marked as here; all else is shown as it is."""

    text: str


@dataclass(frozen=True)
class Listing:
    """Code or commands to copy, shown as they are."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Callout:
    """What must not be overlooked: a headline, and what it means for the reader (marked up as `Text`)."""

    level: Level
    headline: str
    text: str = ""


@dataclass(frozen=True)
class Fact:
    """One figure. format: as in `Column`."""

    label: str
    value: str | float | None
    unit: str = ""
    format: str = ""
    level: Level | None = None


@dataclass(frozen=True)
class Facts:
    """Figures side by side."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Picture:
    """An image with what is said of it (marked up as `Text`).

    source: the file itself, as a data: address. level: how grave it is, shown as a symbol before the title.
    """

    source: str
    title: str
    text: str = ""
    level: Level | None = None


@dataclass(frozen=True)
class Gallery:
    """Images side by side. width: of each at least, in pixels. caption: what to look at."""

    pictures: tuple[Picture, ...]
    title: str = ""
    caption: str = ""
    width: int = 150


@dataclass(frozen=True)
class Section:
    """Blocks under a heading. anchor: what it is about, by name: cells and chart points of that name lead to it.

    collapsed: shut until asked for; a terminal shows its title only, unless all is asked for.
    """

    title: str
    blocks: tuple["Block", ...]
    anchor: str = ""
    collapsed: bool = False


Block = Text | Listing | Callout | Facts | Table | Chart | Gallery | Section


@dataclass(frozen=True)
class Report:
    """What is shown of one result.

    kind: which sort of result, one word. data: the result's numbers for machines, in JSON's types (tuples and
    non-finite numbers may stand in it).
    """

    title: str
    blocks: tuple[Block, ...]
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


def walk(blocks: Sequence[Block]) -> Iterator[Block]:
    """Every block in reading order, those inside sections included."""
    for block in blocks:
        yield block
        if isinstance(block, Section):
            yield from walk(block.blocks)


def charts_in(report: Report) -> list[Chart]:
    """Every chart in reading order, those inside sections included."""
    return [block for block in walk(report.blocks) if isinstance(block, Chart)]
