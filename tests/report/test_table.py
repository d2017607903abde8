import pytest

from qdiag.errors import OptionError
from qdiag.report.cells import Badge, Cell, Code, Place, cell_text
from qdiag.report.table import Column, Table

TWO = (Column("layer", "Layer"), Column("sqnr_db", "SQNR", "dB"))


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(OptionError, match=r"(?s)'layers', row 1: .*report-content"):
        Table(TWO, (("a", 1.0), ("b",)), key="layers")


def test_a_cell_is_plain_data() -> None:
    with pytest.raises(OptionError, match=r"(?s)row 0, column 'sqnr_db': .*complex.*report-content"):
        Table(TWO, (("a", 1j),), title="Layers")  # type: ignore[arg-type]


def test_column_keys_are_unique() -> None:
    with pytest.raises(OptionError, match="two columns have one key"):
        Table((Column("a", "One"), Column("a", "Two")), ())


def test_a_heading_has_the_unit() -> None:
    assert [column.heading for column in TWO] == ["Layer", "SQNR (dB)"]


def test_a_place_is_shown_short_and_kept_in_full() -> None:
    place = Place("/home/ann/net/models/resnet.py", 92)
    assert (place.shown, place.full) == ("models/resnet.py:92", "/home/ann/net/models/resnet.py:92")
    assert Place("/tmp/cell.py", 3, short="In [5]:3").shown == "In [5]:3"


def test_a_cell_reads_without_colour() -> None:
    cells: list[Cell] = [Badge("unusual", "warning"), Code("conv1"), Place("a/b.py", 1), "as it is", None]
    assert [cell_text(cell) for cell in cells] == ["▲ unusual", "conv1", "a/b.py:1", "as it is", "–"]
