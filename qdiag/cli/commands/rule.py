"""`qdiag rule`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qdiag.linting.explain import explain_rule
from qdiag.linting.rule import RULES


def rule(
    name: Annotated[
        str | None, typer.Argument(metavar="RULE", help="A code or a name; without one, all rules are listed.")
    ] = None,
) -> None:
    """A lint rule: what it finds, why that hurts in fixed point, how to fix it.

    qdiag rule QD101
    """
    if name is not None:
        explain_rule(name).print()
        return
    table = Table("Rule", "Name", "Severity", "What it finds", box=None, padding=(0, 2, 0, 0))
    for known in RULES:
        table.add_row(*map(Text, (known.code, known.name, known.severity, known.title)))
    Console().print(table)
