"""What a rule is, and where all of them are found."""

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from torch import nn
from torch.optim import Optimizer

from qdiag.errors import OptionError
from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding, Severity
from qdiag.registry import Registry
from qdiag.tracing.source import Source
from qdiag.tracing.trace import Call


class Example(NamedTuple):
    """A small model that shows a pattern, or how to do without.

    Lines of code that the rule points at end in a comment `# <-`.

    Attributes:
        model: As a user writes one.
        inputs: What it is called with.
        optimizer: What it is trained with, where the rule looks at that.
        sites: Where the rule finds the pattern, in order; nowhere in a good example.
    """

    model: nn.Module
    inputs: Any
    optimizer: Optimizer | None = None
    sites: tuple[str, ...] = ()


class Rule:
    """One bad pattern.

    The docstring is what users read: what it is, why it hurts in power-of-two fixed point, how to fix it. A rule of
    your own is a subclass, named in the entry-point group `qdiag.rules`.

    Attributes:
        code: As QD101.
        name: The pattern, as missing-batchnorm.
        title: A line about it.
        severity: What most findings have.
        is_met_by_calibration: Whether formats and calibration are the remedy, and not another model.
    """

    code: ClassVar[str]
    name: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity]
    is_met_by_calibration: ClassVar[bool] = False

    def inapplicable(self, context: LintContext) -> str:
        """Why this rule has nothing to check here; "" where it has.

        Args:
            context: The model, one forward of it, and what rules ask of them.
        """
        return ""

    def check(self, context: LintContext) -> Iterator[Finding]:
        """One finding for each place where the pattern is; those of one line or `cause` are shown as one.

        Args:
            context: The model, one forward of it, and what rules ask of them.
        """
        raise NotImplementedError(f"rule {self.code} has no check()")

    @staticmethod
    def bad() -> Example:
        """A model with the pattern."""
        raise NotImplementedError

    @staticmethod
    def good() -> Example:
        """The same model without it."""
        raise NotImplementedError

    def finding(
        self,
        place: Call | str,
        why: str,
        fix: str,
        *,
        severity: Severity | None = None,
        source: Source | None = None,
        cause: str = "",
    ) -> Finding:
        """A finding of this rule.

        Args:
            place: An operation; or a module, parameter or buffer by its name.
            why: What is wrong here, with its numbers.
            fix: What to write instead.
            severity: The rule's own if not given.
            source: The user's line; that of the operation if not given.
            cause: What makes several findings one; the line of code where it is left empty.
        """
        if isinstance(place, Call):
            source = source or place.source
            place = str(place.site)
        return Finding(self.code, self.name, severity or self.severity, place, why, fix, source, cause)


def _is_rule(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Rule) and value is not Rule


RULES: Registry[type[Rule]] = Registry("qdiag.linting.rules", _is_rule, lambda rule: rule.code)


def find_rule(code_or_name: str) -> type[Rule]:
    """A rule by its code or its name. Raises OptionError, which lists them.

    >>> find_rule("missing-batchnorm").code
    'QD101'
    """
    for rule in RULES:
        if code_or_name in (rule.code, rule.name):
            return rule
    listing = ", ".join(f"{rule.code} {rule.name}" for rule in RULES)
    raise OptionError(f"no lint rule {code_or_name!r}. There are: {listing}.", code="unknown-name")
