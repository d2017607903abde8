"""What a rule has found."""

import dataclasses
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from qdiag.tracing.site import Site
from qdiag.tracing.source import Source

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the gravest first


@dataclass(frozen=True)
class Finding:
    """A bad pattern at one place, or one cause of it at many.

    Attributes:
        code: The rule's, as QD101.
        name: The rule's, as missing-batchnorm.
        severity: "error", "warning" or "note".
        site: The operation, module, parameter or buffer that it is about, as text.
        why: What is wrong here, with its numbers.
        fix: What to write instead.
        source: The user's line, where there is one.
        cause: What makes several findings of a rule one; the line of code where it is left empty.
        more: The same cause at other places, each a finding of its own.
    """

    code: str
    name: str
    severity: Severity
    site: str
    why: str
    fix: str
    source: Source | None = None
    cause: str = ""
    more: tuple["Finding", ...] = ()

    def each(self) -> Iterator["Finding"]:
        """One finding for each place."""
        yield dataclasses.replace(self, more=())
        yield from self.more

    @property
    def sites(self) -> tuple[str, ...]:
        """Every place."""
        return (self.site, *(finding.site for finding in self.more))

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every line of the user's code, once, in the order found."""
        return tuple(dict.fromkeys(finding.source for finding in self.each() if finding.source))

    def is_at(self, site: Site | str) -> bool:
        """True where it is about this operation, its module, or a parameter or buffer of that module.

        Args:
            site: An address.

        >>> Finding("QD301", "non-finite-value", "error", "stem.weight", "1 of 9 values is NaN", "").is_at("stem")
        True
        """
        text = str(site)
        module = text.partition("#")[0]
        own = {f"{module}.{tensor}" for tensor in _TENSORS}
        return any(place in own or place in (text, module) for place in self.sites)


# Names of the parameters and buffers of torch's own layers: `stem.weight` belongs to `stem`, `stem.conv` does not.
_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def grouped(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings of one rule, severity and cause as one, the gravest first; the first found of a cause speaks for it."""
    causes: dict[tuple[Hashable, ...], list[Finding]] = {}
    for finding in findings:
        causes.setdefault((finding.code, finding.severity, _cause(finding)), []).append(finding)
    merged = [dataclasses.replace(first, more=tuple(more)) for first, *more in causes.values()]
    return tuple(sorted(merged, key=lambda finding: (SEVERITIES.index(finding.severity), finding.code)))


def _cause(finding: Finding) -> Hashable:
    if finding.cause or finding.source is None:
        return finding.cause or finding.site
    return finding.source.file, finding.source.line
