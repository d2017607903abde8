"""A chart as plain data: what to draw, never how."""

from dataclasses import dataclass
from typing import Literal

from qdiag.errors import OptionError
from qdiag.report.cells import Code
from qdiag.report.table import Column, Table

ChartKind = Literal["bar", "line", "histogram", "scatter"]


@dataclass(frozen=True)
class Series:
    """Values under one name, as "8-bit"; None where there is none.

    unit, format: for hover and text, as in `Column`. higher_is_better: says which of many layers is the worst, where
    there is room for one only. meaning: what it shows, and so its colour (see colours.py), by default its name: a lane,
    or "weights", "output", "inherited". at: of points in a scatter, where each one stands on the other axis.
    labels: of these points, a name each; empty where they have none.
    """

    name: str
    values: tuple[float | None, ...]
    unit: str = ""
    format: str = ""
    higher_is_better: bool = False
    meaning: str = ""
    at: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def shows(self) -> str:
        """What gives it its colour."""
        return self.meaning or self.name


@dataclass(frozen=True)
class Mark:
    """A vertical line in a histogram, as a clip limit. meaning: of which of the chart's series, by default of none."""

    value: float
    label: str
    meaning: str = ""


@dataclass(frozen=True)
class Chart:
    """One picture.

    kind: "bar" (horizontal, grouped, in the order given from the top; up to 30 names), "line" (names from left to
    right), "histogram" (counts of each series between shared `edges`, one more than counts), "scatter" (points of each
    series at its own places).
    names: layer names, each once, where values[i] belongs to names[i]; not for histograms and scatters.
    x_title: what names or edges are. y_title: what values are, with the unit; whichever way they are drawn.
    log_y: values on a log scale. caption: what to look at. key: what tells it from the other charts of a report.
    stacked: bars of one name stand end to end, none of them negative, on no log scale.
    x_grid: distance of the values that a number format has, drawn under a histogram where they can be told apart.
    diagonal: a line in a scatter where both values are equal.

    Raises OptionError where the parts do not fit together.
    """

    kind: ChartKind
    title: str
    series: tuple[Series, ...]
    names: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    marks: tuple[Mark, ...] = ()
    x_title: str = ""
    y_title: str = ""
    log_y: bool = False
    caption: str = ""
    key: str = ""
    stacked: bool = False
    x_grid: float = 0.0
    diagonal: bool = False

    def __post_init__(self) -> None:
        if not self.series:
            self._refuse("it has no series")
        for series in self.series:
            size, what = self._room(series)
            if len(series.values) != size:
                self._refuse(f"series {series.name!r} has {len(series.values)} values for {size} {what}")
            if series.labels and len(series.labels) != size:
                self._refuse(f"series {series.name!r} has {len(series.labels)} labels for {size} {what}")
        if len(set(self.names)) < len(self.names):
            self._refuse("a name is there twice")
        if self.stacked and (self.kind != "bar" or self.log_y):
            self._refuse("only bars on a linear scale can be stacked")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw: no layer, no bin, no point."""
        return not any(series.values for series in self.series)

    def _room(self, series: Series) -> tuple[int, str]:
        """How many values a series has to have, and what they belong to."""
        if self.kind == "scatter":
            return len(series.at), "places"
        return (len(self.edges) - 1, "bins") if self.kind == "histogram" else (len(self.names), "names")

    def _refuse(self, why: str) -> None:
        raise OptionError(f"chart {self.title!r}: {why}.", code="report-content")


def chart_table(chart: Chart) -> Table:
    """The same numbers as a table, for who cannot see or click the picture; not for histograms."""
    columns = [Column(f"series_{i}", s.name, s.unit, s.format, "right") for i, s in enumerate(chart.series)]
    values = zip(*(series.values for series in chart.series), strict=True)
    rows = tuple((Code(name), *row) for name, row in zip(chart.names, values, strict=True))
    return Table((Column("name", chart.x_title or "name"), *columns), rows)
