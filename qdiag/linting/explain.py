"""`explain_rule()`: what a rule is about, for reading."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
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
        blocks: list[Block] = [Text(text)]
        if rule.bad is not Rule.bad:
            blocks += [Listing(_body(rule.bad), "The pattern")]
        if rule.good is not Rule.good:
            blocks += [Listing(_body(rule.good).replace("  # <-", ""), "Without it")]
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
    """An example as a user would write it: the helpers of the rule's file that it calls, and the lines that make it."""
    source = textwrap.dedent(inspect.getsource(example))
    function = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    end = function.body[-1]
    assert isinstance(end, ast.Return)
    assert isinstance(end.value, ast.Call)
    lines = source.splitlines()[function.lineno : end.lineno - 1]
    made = textwrap.dedent("\n".join(lines)).strip() or f"net = {ast.unparse(end.value.args[0])}"
    return re.sub(r"\b_(?=[A-Z])", "", "\n\n".join([*_helpers(example, function), made]))


def _helpers(example: Callable[[], Example], function: ast.FunctionDef) -> Iterator[str]:
    names = dict.fromkeys(node.id for node in ast.walk(function) if isinstance(node, ast.Name))
    for name in names:
        value = inspect.unwrap(example).__globals__.get(name)
        if getattr(value, "__module__", None) == example.__module__:
            yield textwrap.dedent(inspect.getsource(value)).strip()
