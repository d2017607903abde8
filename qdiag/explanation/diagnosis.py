"""What `explain()` and `diagnose()` found, in words with the numbers beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.comparison_parts import error_chart, floating_section, layer_table, output_facts, worst_chart
from qdiag.explanation.culprit import Culprit
from qdiag.explanation.diagnosis_parts import (
    blame,
    culprit_data,
    culprit_section,
    culprit_table,
    steps_section,
    trial_data,
    trial_table,
    verdict_callout,
)
from qdiag.explanation.next_step import NextStep
from qdiag.explanation.trials import Trial
from qdiag.explanation.verdict import Verdict
from qdiag.linting.lint_report import LintReport
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report, Section

ANSWER = 3
"""So many of the report's parts answer; the others say why."""


@dataclass(frozen=True, repr=False)
class Diagnosis(Displayable):
    """Is it quantization, which layers, why, what next.

    Attributes:
        verdict: In one word (`kind`), one sentence (`headline`), and what that means (`text`).
        comparison: The numbers that it stands on.
        culprits: Layers to blame, the worst first, each with the evidence.
        trials: What was changed, and what came out.
        steps: What to do next, in the order in which it pays.
        lint: What reading the model found; None where it was not linted.
        versions: The calibrated models of the repairs that the steps advise, by the step's code: made already.
    """

    verdict: Verdict
    comparison: Comparison
    culprits: tuple[Culprit, ...]
    trials: tuple[Trial, ...]
    steps: tuple[NextStep, ...]
    lint: LintReport | None
    versions: Mapping[str, QuantizedModel] = field(default_factory=dict, compare=False)

    def report(self) -> Report:
        """The answer first, then what convicts, then everything."""
        comparison = self.comparison
        blocks: list[Block] = [
            verdict_callout(self.verdict),
            output_facts(comparison.outputs, comparison.float_top1_percent, comparison.images),
            steps_section(self.steps),
        ]
        if self.culprits and self.verdict.kind != "healthy":
            convicted = blame(self.culprits, self.trials), culprit_table(self.culprits)
            blocks.append(Section("Who is to blame", convicted))
        changes = [trial for trial in self.trials if trial.kind in ("part", "repair")]
        if changes:
            tried = trial_table(comparison.outputs, comparison.images, changes)
            blocks.append(Section("What was tried", (tried,)))
        if self.lint is not None:
            lint = self.lint.report()
            blocks.append(Section(lint.title, lint.blocks))
        charts = error_chart(comparison.layers, comparison.lanes), worst_chart(comparison.layers, comparison.lanes[-1])
        blocks.append(Section("Where the error enters", charts))
        layers = layer_table(comparison.layers, comparison.lanes)
        blocks.append(Section("Every layer", (layers,), collapsed=True))
        if comparison.floating:
            blocks.append(floating_section(comparison.floating))
        blocks += [culprit_section(culprit) for culprit in self.culprits]
        return Report(f"Diagnosis of {comparison.model_name}", tuple(blocks), "diagnosis", self._data())

    def _data(self) -> dict[str, object]:
        verdict = self.verdict
        departure = str(verdict.first_departure) if verdict.first_departure else None
        return {
            "verdict": {
                "kind": verdict.kind,
                "headline": verdict.headline,
                "text": verdict.text,
                "first_departure": departure,
            },
            "steps": [vars(step) for step in self.steps],
            "culprits": [culprit_data(culprit) for culprit in self.culprits],
            "trials": [trial_data(trial) for trial in self.trials],
            "comparison": dict(self.comparison.report().data),
            "lint": None if self.lint is None else dict(self.lint.report().data),
        }
