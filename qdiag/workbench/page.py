"""A session, shown without a kernel: the diagnosis, and every version side by side."""

from typing import TYPE_CHECKING

from qdiag.comparison.detail_page import detail_charts
from qdiag.report.cells import Badge, Cell
from qdiag.report.elements import Block, Listing, Report, Section, Text
from qdiag.report.table import Column, Table

if TYPE_CHECKING:
    from qdiag.explanation.diagnosis import Diagnosis
    from qdiag.export.verification import Verification
    from qdiag.workbench.session import Session
    from qdiag.workbench.version import Version

CLOSE = 3
"""Layers that are shown close up, at most."""


def page(session: "Session") -> Report:
    """The applied version's diagnosis, the history, and the code of each version."""
    title = f"Session of {type(session.model).__name__}"
    blocks: list[Block] = []
    data: dict[str, object] = {"versions": [], "applied": None}
    if session.current is None:
        blocks.append(Text("Nothing was run yet: `session.diagnose()` says whether it is quantization, where and why."))
    else:
        table = history_table(session)
        data = {"applied": session.current.name, "versions": [_data(version) for version in session.history.values()]}
        blocks.append(Section("Versions", (table, *_codes(session))))
    if session.diagnosis is not None:
        diagnosis = session.diagnosis.report()
        blocks = [*diagnosis.blocks[:3], *blocks, *_close_looks(session, session.diagnosis), *diagnosis.blocks[3:]]
        data["diagnosis"] = dict(diagnosis.data)
    return Report(title, tuple(blocks), "session", data)


def _close_looks(session: "Session", diagnosis: "Diagnosis") -> list[Block]:
    """The worst layers, as a click on the page shows them."""
    sites = [culprit.layer.site for culprit in diagnosis.culprits[:CLOSE]]
    return [
        Section(f"{site} close up", detail_charts(session.inspect(site)), anchor=str(site), collapsed=True)
        for site in sites
    ]


def history_table(session: "Session") -> Table:
    """Float first, then every version in the order in which they were made."""
    own = [Column("score", "your evaluate", "", ".4g", "right")] if session.evaluate is not None else []
    columns = (
        Column("version", "version"),
        Column("applied", ""),
        Column("parent", "made from"),
        Column("top1_percent", "top-1", "%", ".2f", "right"),
        Column("drop_points", "drop", "points", ".2f", "right"),
        Column("interval", "95 % interval", align="right"),
        Column("agreement_percent", "agrees with float", "%", ".2f", "right"),
        Column("sqnr_db", "output SQNR", "dB", ".1f", "right"),
        *own,
        Column("verified", "integers in ONNX Runtime"),
    )
    first = next(iter(session.history.values())).output
    float_top1 = None if first.top1_percent is None else first.top1_percent + (first.drop_points or 0)
    score: list[Cell] = [session.float_score] if own else []
    rows: list[tuple[Cell, ...]] = [("float", "", "", float_top1, None, "", None, None, *score, "")]
    rows += [_row(session, version) for version in session.history.values()]
    return Table(columns, tuple(rows), key="versions")


def _row(session: "Session", version: "Version") -> tuple[Cell, ...]:
    output = version.output
    interval = "" if output.drop_interval is None else "{:+.2f} to {:+.2f}".format(*output.drop_interval)
    score: list[Cell] = [] if session.evaluate is None else [version.score]
    applied: Cell = Badge("applied", "ok") if version is session.current else ""
    return (
        version.name,
        applied,
        version.parent or "float",
        output.top1_percent,
        output.drop_points,
        interval,
        output.agreement_percent,
        output.sqnr_db,
        *score,
        _verified(session.verifications.get(version.name)),
    )


def _verified(found: "Verification | None") -> Cell:
    if found is None:
        return ""
    differing = found.values - found.equal
    return f"{differing:,} of {found.values:,} differ" if differing else f"all {found.values:,} the same"


def _codes(session: "Session") -> list[Block]:
    return [
        Section(f"Code of {version.name}", (Listing(version.script),), collapsed=True)
        for version in session.history.values()
    ]


def _data(version: "Version") -> dict[str, object]:
    facts = {"name": version.name, "parent": version.parent, "code": version.script, "score": version.score}
    return facts | {"output": vars(version.output)}
