"""`explain_rule()`: what a rule is about, for reading."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from qdiag.linting.rule import Example, Rule, find_rule
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Listing, Report, Text


@dataclass(frozen=True)
class RuleExplanation(Displayable):
    """A rule's own words, and its two example models."""

    rule: type[Rule]

    def report(self) -> Report:
        """The docstring, then the code with the pattern and the code without it."""
        rule = self.rule
        text = inspect.cleandoc(rule.__doc__ or rule.title)
        examples = (("The pattern", _body(rule.bad)), ("Without it", _body(rule.good)))
        blocks: list[Block] = [Text(text), *(Listing(code, title) for title, code in examples if code)]
        data = {"code": rule.code, "name": rule.name, "severity": rule.severity, "title": rule.title, "text": text}
        return Report(f"{rule.code} {rule.name} ({rule.severity})", tuple(blocks), kind="rule", data=data)


def explain_rule(code_or_name: str) -> RuleExplanation:
    """What a lint rule finds, why it hurts in fixed point, and how to fix it.

    Raises OptionError for a rule that does not exist.

    >>> explain_rule("QD101").rule.name
    'missing-batchnorm'
    """
    return RuleExplanation(find_rule(code_or_name))


def _body(example: Callable[[], Example]) -> str:
    """The model in an example's source, without the lines that make it a method and a test."""
    lines = inspect.getsource(example).splitlines()
    start = next(number for number, line in enumerate(lines, start=1) if line.lstrip().startswith("def "))
    end = next(number for number, line in enumerate(lines) if line.lstrip().startswith("return Example("))
    return textwrap.dedent("\n".join(lines[start:end])).strip()
