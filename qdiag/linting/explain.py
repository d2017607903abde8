"""`explain_rule()`: what a rule is about, for reading."""

import inspect
import textwrap
from dataclasses import dataclass

from qdiag.linting.rule import Example, Rule, find_rule
from qdiag.report.blocks import Block, Listing, Report, Text
from qdiag.report.displayable import Displayable


@dataclass(frozen=True)
class RuleExplanation(Displayable):
    """A rule's own words, and its two example models."""

    rule: type[Rule]

    def report(self) -> Report:
        """The docstring, then the code with the pattern and the code without it."""
        rule = self.rule
        text = inspect.cleandoc(rule.__doc__ or rule.title)
        blocks: tuple[Block, ...] = (
            Text(text),
            Listing(_body(rule.bad), title="The pattern"),
            Listing(_body(rule.good), title="Without it"),
        )
        data = {"code": rule.code, "name": rule.name, "severity": rule.severity, "title": rule.title, "text": text}
        return Report(f"{rule.code} {rule.name} ({rule.severity})", blocks, kind="rule", data=data)


def explain_rule(code_or_name: str) -> RuleExplanation:
    """What a lint rule finds, why it hurts in fixed point, and how to fix it.

    Raises OptionError for a rule that does not exist.

    >>> explain_rule("QD101").rule.name
    'missing-batchnorm'
    """
    return RuleExplanation(find_rule(code_or_name))


def _body(example: "Example | object") -> str:
    """The source of an example, without the frame that makes it a test."""
    lines = inspect.getsource(example).splitlines()  # type: ignore[arg-type]
    start = next(i for i, line in enumerate(lines) if line.rstrip().endswith(":")) + 1
    return textwrap.dedent("\n".join(line for line in lines[start:] if '"""' not in line)).strip()
