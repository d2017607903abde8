"""The parts of a session's report: every version side by side, and the code of each."""

from collections.abc import Iterable, Mapping, Sequence

from qdiag.comparison.output_error import OutputError
from qdiag.export.verification import Verification
from qdiag.report.cells import Badge, Cell
from qdiag.report.chart import Chart
from qdiag.report.elements import Listing, Section
from qdiag.report.table import Column, Table
from qdiag.workbench.version import Version


def history_table(
    versions: Iterable[Version],
    applied: Version | None,
    verifications: Mapping[str, Verification],
    float_score: float | None,
) -> Table:
    """Float first, then every version in the order in which they were made; one that was not measured says so.

    float_score: what the user's own `evaluate` gives of the float model; None where there is no `evaluate`.
    """
    versions = list(versions)
    scored = float_score is not None
    first = next((version.measured for version in versions if version.measured is not None), None)
    float_top1 = None if first is None or first.top1_percent is None else first.top1_percent + (first.drop_points or 0)
    score: list[Cell] = [float_score] if scored else []
    rows: list[tuple[Cell, ...]] = [("float", "", "", float_top1, None, "", None, None, *score, "")]
    for version in versions:
        badge = _badge(version, is_applied=version is applied, scored=scored)
        rows.append(_row(version, badge, verifications.get(version.name), scored))
    return Table(_columns(scored), tuple(rows), key="versions")


def _badge(version: Version, *, is_applied: bool, scored: bool) -> Cell:
    words = ["applied"] if is_applied else []
    if version.measured is None or (scored and version.score is None):
        return Badge(", ".join([*words, "not measured: Run checks"]), "warning")
    return Badge("applied", "ok") if is_applied else ""


def _columns(scored: bool) -> tuple[Column, ...]:
    own = [Column("score", "your evaluate", "", ".4g", "right")] if scored else []
    return (
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


def _row(version: Version, badge: Cell, verification: Verification | None, scored: bool) -> tuple[Cell, ...]:
    score: list[Cell] = [version.score] if scored else []
    return (
        *(version.name, badge, version.parent or "float"),
        *_figures(version.measured),
        *score,
        _verified(verification),
    )


def _figures(output: OutputError | None) -> tuple[Cell, ...]:
    if output is None:
        return None, None, "", None, None
    interval = "" if output.drop_interval is None else "{:+.2f} to {:+.2f}".format(*output.drop_interval)
    return output.top1_percent, output.drop_points, interval, output.agreement_percent, output.sqnr_db


def _verified(found: Verification | None) -> Cell:
    if found is None:
        return ""
    if found.exit_code:
        return f"wrong layers: {len(found.wrong)}" if found.wrong else "the results alone differ"
    at_a_tie = sum(layer.differing for layer in found.alone)
    return f"the same, save for {at_a_tie:,} at a tie" if at_a_tie else f"all {found.values:,} the same"


def code_section(version: Version) -> Section:
    """The lines that make a version."""
    return Section(f"Code of {version.name}", (Listing(version.script),), collapsed=True)


def close_look(name: str, charts: Sequence[Chart]) -> Section:
    """One layer's pictures, as a click on the page shows them."""
    return Section(f"{name} close up", tuple(charts), anchor=name, collapsed=True)


def version_data(version: Version) -> dict[str, object]:
    """A version's figures and code, for machines."""
    facts = {"name": version.name, "parent": version.parent, "code": version.script, "score": version.score}
    return facts | {"output": None if version.measured is None else vars(version.measured)}
