"""Findings that the user does not want to see, and which of three ways said so."""

import linecache
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from qdiag.linting.finding import Finding
from qdiag.linting.rule import find_rule

_COMMENT = re.compile(r"#\s*qdiag:\s*ignore(?:\[(?P<rules>[^\]]*)\])?")


@dataclass(frozen=True)
class Suppressed:
    """A finding that was put aside. by: what put it aside, as the user wrote it."""

    finding: Finding
    by: str


@dataclass(frozen=True)
class Suppression:
    """Rules to ignore everywhere, and rules to ignore at some sites, by code."""

    everywhere: Collection[str] = ()
    at_sites: Mapping[str, Collection[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, ignore: str | Collection[str] | None, suppress: Mapping[str, str | Collection[str]] | None
    ) -> "Suppression":
        """From codes or names. Raises OptionError for a rule that does not exist."""
        everywhere = {find_rule(rule).code for rule in as_names(ignore)}
        at_sites = {find_rule(rule).code: as_names(patterns) for rule, patterns in (suppress or {}).items()}
        return cls(everywhere, at_sites)

    def reason(self, finding: Finding) -> str:
        """What suppresses a finding of one place; "" where nothing does."""
        if finding.code in self.everywhere:
            return f"ignore={finding.code}"
        for pattern in self.at_sites.get(finding.code, ()):
            if fnmatchcase(finding.site, pattern):
                return f"suppress={{{finding.code!r}: {pattern!r}}}"
        return _comment(finding)


def as_names(names: str | Collection[str] | None) -> Collection[str]:
    """One name, several, or none, as several."""
    return (names,) if isinstance(names, str) else names or ()


def _comment(finding: Finding) -> str:
    """The comment `# qdiag: ignore[QD101]` on the user's line; without brackets it is for all rules."""
    if finding.source is None:
        return ""
    match = _COMMENT.search(linecache.getline(finding.source.file, finding.source.line))
    if match is None:
        return ""
    rules = {rule.strip() for rule in (match["rules"] or f"{finding.code}").split(",")}
    return f"comment at {finding.source}" if rules & {finding.code, finding.name} else ""
