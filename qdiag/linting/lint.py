"""`lint_model()`: every rule over one forward of the model."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from qdiag.errors import OptionError
from qdiag.linting.context import LintContext
from qdiag.linting.finding import SEVERITIES, Finding, Severity, grouped
from qdiag.linting.lint_report import LintReport
from qdiag.linting.rule import RULES, Rule, find_rule
from qdiag.linting.suppression import Suppressed, Suppression, as_names
from qdiag.subject import Subject


def lint_model(
    model: nn.Module | Subject,
    data: Any = None,
    optimizer: Optimizer | None = None,
    *,
    select: str | Collection[str] | None = None,
    ignore: str | Collection[str] | None = None,
    suppress: Mapping[str, str | Collection[str]] | None = None,
    fail_on: Severity = "error",
) -> LintReport:
    """Is the model built and trained in a way that quantizes? One forward, no training; the model stays as it was.

    A comment `# qdiag: ignore[QD101]` puts aside what is found at that line of the user's code.

    Args:
        model: Left as it was; or a `Subject`, which holds the data as well.
        data: As for `compare`; two images of it run.
        optimizer: The one that the model is trained with; its weight decay is checked.
        select: The only rules to run, by code or name.
        ignore: Rules whose findings are put aside.
        suppress: The same at some sites, as `{"QD101": "head.*"}`.
        fail_on: The least severity at which the report's `exit_code` is 1.

    Raises:
        OptionError: For a rule or option that does not exist.
        ModelError: Where the model does not run.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    >>> [(finding.name, finding.site) for finding in lint_model(net, torch.zeros(1, 3, 8, 8), select="QD101").findings]
    [('missing-batchnorm', '0')]
    """
    if fail_on not in SEVERITIES:
        raise OptionError(f"fail_on={fail_on!r}: it is one of {', '.join(map(repr, SEVERITIES))}.", code="option-value")
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        raise OptionError(
            f"the optimizer is a {type(optimizer).__name__}, without param_groups. Pass a torch optimizer.",
            code="not-an-optimizer",
        )
    rules = [find_rule(name) for name in as_names(select)] or list(RULES)
    suppression = Suppression.of(ignore, suppress)
    subject = Subject.of(model, data)
    context = LintContext(subject.model, subject.trace, optimizer)
    found, aside, inapplicable = _run(rules, context, suppression)
    return LintReport(
        model_name=context.trace.model_name,
        findings=grouped(found),
        suppressed=tuple(aside),
        inapplicable=inapplicable,
        rules=tuple(rule.code for rule in rules),
        fail_on=fail_on,
    )


def _run(
    rules: list[type[Rule]], context: LintContext, suppression: Suppression
) -> tuple[list[Finding], list[Suppressed], dict[str, str]]:
    """Findings to show, findings put aside, and why some rules had nothing to check."""
    found: list[Finding] = []
    aside: list[Suppressed] = []
    inapplicable: dict[str, str] = {}
    with torch.no_grad():
        for rule in (rule() for rule in rules):
            reason = rule.inapplicable(context)
            if reason:
                inapplicable[rule.code] = reason
                continue
            for finding in rule.check(context):
                by = suppression.reason(finding)
                if by:
                    aside.append(Suppressed(finding, by))
                else:
                    found.append(finding)
    return found, aside, inapplicable
