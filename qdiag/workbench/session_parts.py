"""The parts of a session's report: every version side by side, and the code of each."""

from collections.abc import Iterable, Mapping, Sequence

from qdiag.comparison.output_error import OutputError
from qdiag.export.verification import Verification
from qdiag.planning.cost import PlanCost
from qdiag.report.cells import Badge, Cell
from qdiag.report.chart import Chart, Series
from qdiag.report.elements import Listing, Section
from qdiag.report.table import Column, Table
from qdiag.workbench.version import Version


def history_table(
    versions: Iterable[Version],
    applied: Version | None,
    verifications: Mapping[str, Verification],
    float_score: float | None,
    costs: Mapping[str, PlanCost],
) -> Table:
    """Float first, then every version in the order given; one that was not measured says so.

    float_score: what the user's own `evaluate` gives of the float model; None where there is no `evaluate`.
    """
    versions = list(versions)
    scored = float_score is not None
    first = next((version.measured for version in versions if version.measured is not None), None)
    float_top1 = None if first is None or first.top1_percent is None else first.top1_percent + (first.drop_points or 0)
    score: list[Cell] = [float_score] if scored else []
    rows: list[tuple[Cell, ...]] = [("float", "", "", float_top1, None, "", None, None, *score, None, None, "", "")]
    for version in versions:
        badge = _badge(version, is_applied=version is applied, scored=scored)
        rows.append(_row(version, badge, verifications.get(version.name), scored, costs[version.name]))
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
        Column("wide_percent", "MACs over 8 bit", "%", ".1f", "right", "of layers with more than 8 bits, or in float"),
        Column("parameter_kb", "parameters", "KB", ".1f", "right", "weights and biases as they are stored"),
        Column("verified", "integers in ONNX Runtime"),
        Column("note", "note"),
    )


def _row(
    version: Version, badge: Cell, verification: Verification | None, scored: bool, cost: PlanCost
) -> tuple[Cell, ...]:
    score: list[Cell] = [version.score] if scored else []
    return (
        *(f"★ {version.called}" if version.is_pinned else version.called, badge, version.parent or "float"),
        *_figures(version.measured),
        *score,
        *(cost.wide_percent, cost.parameter_bytes / 1024),
        *(_verified(verification), version.note),
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


def cost_chart(versions: Sequence[Version], costs: Mapping[str, PlanCost], float_score: float | None) -> Chart | None:
    """What each version reaches over what it costs; None where nothing was measured."""
    figures = {
        version.called: (costs[version.name].wide_percent, _reached(version, float_score)) for version in versions
    }
    known = {name: (cost, reached) for name, (cost, reached) in figures.items() if reached is not None}
    if not known:
        return None
    title, unit = _measure(versions, float_score)
    values = tuple(reached for _, reached in known.values())
    points = Series(
        "versions", values, unit, ".4g", True, "8-bit", tuple(cost for cost, _ in known.values()), tuple(known)
    )
    return Chart(
        "scatter",
        "Accuracy against cost",
        (points,),
        x_title="multiply-accumulates over 8 bit (%)",
        y_title=f"{title} ({unit})" if unit else title,
        caption="To the left is cheap, above is good: of two versions as good as each other, take the one on the left.",
        key="cost",
    )


def _measure(versions: Sequence[Version], float_score: float | None) -> tuple[str, str]:
    """The figure that all versions are held against, and its unit."""
    measured = [version.measured for version in versions if version.measured is not None]
    if float_score is not None:
        return "your evaluate", ""
    if all(output.top1_percent is not None for output in measured):
        return "top-1", "%"
    return ("agrees with float", "%") if all(output.means_classes for output in measured) else ("output SQNR", "dB")


def _reached(version: Version, float_score: float | None) -> float | None:
    output = version.measured
    if float_score is not None or output is None:
        return version.score
    if output.top1_percent is not None:
        return output.top1_percent
    return output.agreement_percent if output.means_classes else output.worst_sqnr_db


def code_section(version: Version) -> Section:
    """The lines that make a version."""
    return Section(f"Code of {version.called}", (Listing(version.script),), collapsed=True)


def close_look(name: str, charts: Sequence[Chart]) -> Section:
    """One layer's pictures, as a click on the page shows them."""
    return Section(f"{name} close up", tuple(charts), anchor=name, collapsed=True)


def version_data(version: Version) -> dict[str, object]:
    """A version's figures and code, for machines."""
    facts: dict[str, object] = {
        "name": version.name,
        "parent": version.parent,
        "code": version.script,
        "score": version.score,
    }
    facts |= {"title": version.title, "note": version.note}
    return facts | {"output": None if version.measured is None else vars(version.measured)}
