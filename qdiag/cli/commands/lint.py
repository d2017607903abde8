"""`qdiag lint`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, ModelOptions
from qdiag.cli.output import OutputOptions
from qdiag.errors import OptionError
from qdiag.linting.finding import SEVERITIES, Severity
from qdiag.linting.lint import lint_model

PANEL = "Rules"


class FailOn(StrEnum):
    """The least severity that makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    NEVER = "never"


def lint(
    model: ModelOptions,
    data: DataOptions,
    output: OutputOptions,
    select: Annotated[
        list[str] | None, typer.Option(metavar="RULE", rich_help_panel=PANEL, help="Only this rule; repeatable.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RULE", rich_help_panel=PANEL, help="Not this rule; repeatable.")
    ] = None,
    suppress: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE=SITES",
            rich_help_panel=PANEL,
            help="Not this rule at some sites, as QD101=head.*; repeatable.",
        ),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option(rich_help_panel=PANEL, help="From which severity on the exit code is 1.")
    ] = FailOn.ERROR,
) -> None:
    """Is the model built and trained in a way that quantizes?

    Exit code: 0 where it is, 1 where a finding is an error (see --fail-on), 2 where it could not be checked.

    qdiag lint my_model.py:build --input 1,3,224,224
    """
    least: Severity = next((severity for severity in SEVERITIES if severity == fail_on), "error")
    aside = _by_rule(suppress or ())
    given = gather(model, data)
    report = lint_model(
        given.subject, optimizer=given.optimizer, select=select, ignore=ignore, suppress=aside, fail_on=least
    )
    output.show(report)
    raise typer.Exit(0 if fail_on is FailOn.NEVER else report.exit_code)


def _by_rule(pairs: Sequence[str]) -> dict[str, list[str]]:
    sites: dict[str, list[str]] = {}
    for pair in pairs:
        rule, _, pattern = pair.partition("=")
        if not pattern:
            raise OptionError(f"--suppress {pair!r}: write RULE=SITES, as QD101=head.*", code="suppression-syntax")
        sites.setdefault(rule, []).append(pattern)
    return sites
