"""What `lint_model` returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qdiag.linting.finding import SEVERITIES, Finding, Severity
from qdiag.linting.suppression import Suppressed
from qdiag.report.cells import Badge, Cell, Code, Place
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Listing, Report, Section, Text
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site
from qdiag.tracing.source import Source


@dataclass(frozen=True)
class LintReport(Displayable):
    """Every finding, the gravest first; one for each cause.

    suppressed: findings that the user has put aside, one for each place, with what did it.
    inapplicable: rules that had nothing to check, with the reason. rules: the codes of all that were asked for.
    fail_on: the least severity at which `exit_code` is 1.
    """

    model_name: str
    findings: tuple[Finding, ...]
    suppressed: tuple[Suppressed, ...] = ()
    inapplicable: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    fail_on: Severity = "error"

    def count(self, severity: Severity) -> int:
        """Findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """For a shell or CI: 1 where a finding is at least as grave as `fail_on`, else 0."""
        failing = SEVERITIES[: SEVERITIES.index(self.fail_on) + 1]
        return int(any(finding.severity in failing for finding in self.findings))

    def by_site(self, site: Site | str) -> tuple[Finding, ...]:
        """What is wrong at one operation, its module or the module's own tensors, the gravest first."""
        return tuple(one for finding in self.findings for one in finding.each() if one.is_at(site))

    def by_rule(self, code_or_name: str) -> tuple[Finding, ...]:
        """The findings of one rule."""
        return tuple(finding for finding in self.findings if code_or_name in (finding.code, finding.name))

    def report(self) -> Report:
        """A callout, the table of findings, and for each finding why and how to fix it."""
        sections = [_section(finding) for finding in self.findings]
        return Report(
            title=f"Lint of {self.model_name}",
            blocks=(self._callout(), *self._table(), *sections, *self._footer()),
            kind="lint",
            data=self._data(),
        )

    def _callout(self) -> Callout:
        checked = len(self.rules) - len(self.inapplicable)
        if not self.findings:
            return Callout("ok", f"Nothing found by {checked} rules.")
        counts = ", ".join(_plural(self.count(s), s) for s in SEVERITIES if self.count(s))
        gravest = self.findings[0].severity
        return Callout(gravest, f"{counts}, from {checked} rules.", _MEANING[gravest])

    def _table(self) -> Iterator[Table]:
        if self.findings:
            rows = tuple(_row(finding) for finding in self.findings)
            yield Table(_COLUMNS, rows, title="Findings", key="findings")

    def _footer(self) -> Iterator[Block]:
        if self.inapplicable:
            reasons = "\n\n".join(f"`{code}`: {reason}" for code, reason in self.inapplicable.items())
            yield Section("Not checked", (Text(reasons),))
        if self.suppressed:
            rows = tuple((Code(s.finding.code), s.finding.name, Code(s.finding.site), s.by) for s in self.suppressed)
            columns = (Column("code", "Rule"), Column("name", "Name"), Column("site", "Where"), Column("by", "By"))
            table = Table(columns, rows, key="suppressed")
            yield Section(f"Suppressed ({len(rows)})", (table,), collapsed=True)

    def _data(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "exit_code": self.exit_code,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "findings": [_plain(finding) for finding in self.findings],
            "suppressed": [_plain(s.finding) | {"by": s.by} for s in self.suppressed],
            "inapplicable": dict(self.inapplicable),
            "rules": self.rules,
        }


_MEANING: dict[Severity, str] = {
    "error": "Errors cost accuracy in 8 bits, or keep the model from being computed in fixed point: repair them first.",
    "warning": "Warnings are known to make 8 bits harder; repair them before training or calibrating again.",
    "note": "Notes are worth knowing, and need no repair as long as the accuracy is right.",
}

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


def _section(finding: Finding) -> Section:
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


def _plain(finding: Finding) -> dict[str, Any]:
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


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
