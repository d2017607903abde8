"""The parts of a sensitivity's report: a picture of the worst layers, and a table of all."""

from collections.abc import Sequence

from qdiag.report.cells import Code
from qdiag.report.chart import Chart, Series
from qdiag.report.table import Column, Table

SHOWN = 25

Row = tuple[str, str, float | None, float | None, str]
"""Site, kind, share from 0 to 1, the outputs' SQNR in dB, format."""


def sensitivity_chart(rows: Sequence[Row], label: str) -> Chart:
    """The worst layers by their share. rows: the worst first."""
    shown = [row for row in rows[:SHOWN] if row[2] is not None]
    shares = tuple(None if share is None else 100 * share for _, _, share, _, _ in shown)
    return Chart(
        kind="bar",
        title=f"Layers that cost the output most, alone in {label}",
        series=(Series(label, shares, "%", ".1f"),),
        names=tuple(site for site, *_ in shown),
        x_title="layer",
        y_title="share of the outputs' error (%)",
        caption="Each layer is quantized with all others in float. More bits, or a mend, pay where a bar is long.",
        key="sensitivity",
    )


def sensitivity_table(rows: Sequence[Row], label: str, method: str) -> Table:
    """Every layer. rows: the worst first."""
    columns = (
        Column("site", "Layer"),
        Column("kind", "Kind"),
        Column("share_percent", "Share", "%", ".1f", "right", "Of the error that all layers make, each alone."),
        Column("sqnr_db", "Output if only this", "dB", ".1f", "right", f"With nothing but this layer in {label}."),
        Column("format", "Stored as"),
    )
    told = "Measured" if method == "exact" else "Estimated by gradients of the float network"
    caption = f"{told}: each layer quantized with all others in float."
    cells = tuple(
        (Code(site), kind, None if share is None else 100 * share, db, stored) for site, kind, share, db, stored in rows
    )
    return Table(columns, cells, "Layers, worst first", caption, "layers")
