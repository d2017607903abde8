"""The parts of lint's report: how many findings, all of them in a table, and each with its reason and its fix."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qdiag.linting.finding import SEVERITIES, Finding, Severity
from qdiag.linting.suppression import Suppressed
from qdiag.report.cells import Badge, Cell, Code, Place
from qdiag.report.elements import Block, Callout, Listing, Section, Text
from qdiag.report.table import Column, Table
from qdiag.tracing.source import Source


def count_callout(findings: Sequence[Finding], rules: int) -> Callout:
    """How many findings of which severity, and what that means. rules: how many had something to check."""
    if not findings:
        return Callout("ok", f"Nothing found by {rules} rules.")
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES}
    words = ", ".join(_plural(count, severity) for severity, count in counts.items() if count)
    gravest = findings[0].severity
    return Callout(gravest, f"{words}, from {rules} rules.", _MEANING[gravest])


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


_MEANING: dict[Severity, str] = {
    "error": "Errors cost accuracy in 8 bits, or keep the model from being computed in fixed point: repair them first.",
    "warning": "Warnings are known to make 8 bits harder; repair them before training or calibrating again.",
    "note": "Notes are worth knowing, and need no repair as long as the accuracy is right.",
}


def finding_table(findings: Sequence[Finding]) -> Table:
    """One row a finding."""
    return Table(_COLUMNS, tuple(_row(finding) for finding in findings), title="Findings", key="findings")


_COLUMNS = (
    Column("severity", "Severity"),
    Column("code", "Rule"),
    Column("name", "Name"),
    Column("site", "Where", help="The first place; the section below lists all of them."),
    Column("places", "Places", align="right", help="At how many places the same cause shows."),
    Column("source", "Line"),
)


def _row(finding: Finding) -> tuple[Cell, ...]:
    return (
        Badge(finding.severity, finding.severity),
        Code(finding.code),
        finding.name,
        Code(finding.site or "model"),
        len(finding.sites),
        place(finding.source, others=len(finding.sources) - 1),
    )


def finding_section(finding: Finding) -> Section:
    """Why it hurts, where it shows, and the fix."""
    others = f" and {len(finding.more)} more" if finding.more else ""
    blocks = (Text(finding.why), *_places(finding), Listing(finding.fix, title="Fix"))
    return Section(f"{finding.code} {finding.name}: {finding.site or 'model'}{others}", blocks, anchor=finding.site)


def _places(finding: Finding) -> Iterator[Block]:
    """Where one cause shows: the first names, and all of them in a table, each with its own line and numbers."""
    each = list(finding.each())
    if len(each) == 1:
        return
    names = ", ".join(f"`{site}`" for site in finding.sites[:_NAMED])
    yield Text(f"At {names}" + (f" and {len(each) - _NAMED} more." if len(each) > _NAMED else "."))
    columns = [Column("site", "Where")]
    cells: list[list[Cell]] = [[Code(one.site) for one in each]]
    if len({one.source for one in each}) > 1:
        columns.append(Column("source", "Line"))
        cells.append([place(one.source) for one in each])
    if len({one.why for one in each}) > 1:
        columns.append(Column("why", "Why"))
        cells.append([one.why for one in each])
    if len(each) > _NAMED or len(columns) > 1:
        table = Table(tuple(columns), tuple(zip(*cells, strict=True)))
        yield Section(f"All {len(each)} places", (table,), collapsed=True)


_NAMED = 4  # places that a finding's text names


def place(source: Source | None, others: int = 0) -> Place | None:
    """A line of the user's code as a table cell, and how many other lines there are."""
    if source is None:
        return None
    return Place(source.file, source.line, short=f"{source} and {others} more" if others > 0 else str(source))


def inapplicable_section(reasons: Mapping[str, str]) -> Section:
    """Rules that had nothing to check. reasons: by code."""
    return Section("Not checked", (Text("\n\n".join(f"`{code}`: {reason}" for code, reason in reasons.items())),))


def suppressed_section(suppressed: Sequence[Suppressed]) -> Section:
    """Findings that the user has put aside."""
    rows = tuple((Code(s.finding.code), s.finding.name, Code(s.finding.site), s.by) for s in suppressed)
    columns = (Column("code", "Rule"), Column("name", "Name"), Column("site", "Where"), Column("by", "By"))
    return Section(f"Suppressed ({len(rows)})", (Table(columns, rows, key="suppressed"),), collapsed=True)


def finding_data(finding: Finding) -> dict[str, Any]:
    """A finding for machines."""
    source = finding.source
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "site": finding.site,
        "sites": finding.sites,
        "file": source.file if source else None,
        "line": source.line if source else None,
        "why": finding.why,
        "fix": finding.fix,
    }
