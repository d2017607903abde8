"""What `explain()` and `diagnose()` found, in words with the numbers beside them."""

from dataclasses import dataclass

from qdiag.comparison.comparison import Comparison
from qdiag.explanation.culprit import Culprit
from qdiag.explanation.page import page
from qdiag.explanation.step import Step
from qdiag.explanation.trials import Trial
from qdiag.explanation.verdict import Verdict
from qdiag.linting.lint_report import LintReport
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report


@dataclass(frozen=True, repr=False)
class Diagnosis(Displayable):
    """Is it quantization, which layers, why, what next."""

    verdict: Verdict
    comparison: Comparison
    culprits: tuple[Culprit, ...]
    trials: tuple[Trial, ...]
    steps: tuple[Step, ...]
    lint: LintReport | None

    def report(self) -> Report:
        return page(self)
