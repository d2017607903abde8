"""What `lint_model` returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qdiag.linting.finding import SEVERITIES, Finding, Severity
from qdiag.linting.lint_report_parts import (
    count_callout,
    finding_data,
    finding_section,
    finding_table,
    inapplicable_section,
    suppressed_section,
)
from qdiag.linting.suppression import Suppressed
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report
from qdiag.tracing.site import Site


@dataclass(frozen=True)
class LintReport(Displayable):
    """Every finding, the gravest first; one for each cause.

    Attributes:
        model_name: The model's class.
        findings: What was found and not put aside.
        suppressed: Findings that the user has put aside, one for each place, with what did it.
        inapplicable: Rules that had nothing to check, with the reason.
        rules: The codes of all that were asked for.
        fail_on: The least severity at which `exit_code` is 1.
    """

    model_name: str
    findings: tuple[Finding, ...]
    suppressed: tuple[Suppressed, ...] = ()
    inapplicable: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    fail_on: Severity = "error"

    def count(self, severity: Severity) -> int:
        """Findings of one severity.

        Args:
            severity: "error", "warning" or "note".
        """
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """For a shell or CI: 1 where a finding is at least as grave as `fail_on`, else 0."""
        failing = SEVERITIES[: SEVERITIES.index(self.fail_on) + 1]
        return int(any(finding.severity in failing for finding in self.findings))

    def by_site(self, site: Site | str) -> tuple[Finding, ...]:
        """What is wrong at one operation, its module or the module's own tensors, the gravest first.

        Args:
            site: An address, as `layer1.0.conv2`.
        """
        return tuple(one for finding in self.findings for one in finding.each() if one.is_at(site))

    def by_rule(self, code_or_name: str) -> tuple[Finding, ...]:
        """The findings of one rule.

        Args:
            code_or_name: As "QD101" or "missing-batchnorm".
        """
        return tuple(finding for finding in self.findings if code_or_name in (finding.code, finding.name))

    def report(self) -> Report:
        """A callout, the table of findings, and for each finding why and how to fix it."""
        blocks: list[Block] = [count_callout(self.findings, len(self.rules) - len(self.inapplicable))]
        if self.findings:
            blocks += [finding_table(self.findings), *map(finding_section, self.findings)]
        if self.inapplicable:
            blocks.append(inapplicable_section(self.inapplicable))
        if self.suppressed:
            blocks.append(suppressed_section(self.suppressed))
        return Report(f"Lint of {self.model_name}", tuple(blocks), "lint", self._data())

    def _data(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "exit_code": self.exit_code,
            "counts": {severity: self.count(severity) for severity in SEVERITIES},
            "findings": [finding_data(finding) for finding in self.findings],
            "suppressed": [finding_data(s.finding) | {"by": s.by} for s in self.suppressed],
            "inapplicable": dict(self.inapplicable),
            "rules": self.rules,
        }
