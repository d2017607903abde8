"""What to do next, in the order in which it pays."""

from collections.abc import Sequence

from qdiag.comparison.comparison import Comparison
from qdiag.explanation.culprit import Culprit
from qdiag.explanation.step import Step
from qdiag.explanation.trials import Trial
from qdiag.explanation.verdict import LIMIT_POINTS, Loss, Verdict, describe, loss
from qdiag.linting.finding import Finding
from qdiag.linting.lint_report import LintReport


def next_steps(
    verdict: Verdict,
    comparison: Comparison,
    culprits: Sequence[Culprit],
    trials: Sequence[Trial],
    lint: LintReport | None,
) -> tuple[Step, ...]:
    """Mends in the model first, then the best repair that was tried, better calibration, then training."""
    steps = []
    errors = [] if lint is None else [finding for finding in lint.findings if finding.severity == "error"]
    if errors:
        steps.append(_mend(errors))
    if verdict.kind == "not-quantization":
        return (*steps, _look_there(verdict))
    if verdict.kind == "healthy":
        return (*steps, Step("Keep this calibration", "Nothing is lost that calibration or training could win back."))
    repairs = sorted((t for t in trials if t.kind == "repair"), key=lambda t: -t.output.sqnr_db)
    if not repairs:
        text = "The usual repairs were not tried yet: diagnose() runs them, and says what each of them brings."
        return (*steps, Step("Try the repairs", text, "diagnose(model, loader, optimizer)"))
    steps.append(_repair(repairs, comparison))
    steps.append(_BEST)
    if all(loss(trial.output) is Loss.LARGE for trial in repairs):
        steps.append(
            Step(
                "Train with quantization (QAT)",
                f"Calibration that still loses more than {LIMIT_POINTS:g} points is where training begins to pay: a "
                "few epochs at a small learning rate from these weights.",
            )
        )
    return tuple(steps)


def _mend(errors: Sequence[Finding]) -> Step:
    names = ", ".join(dict.fromkeys(f"{finding.code} {finding.name}" for finding in errors))
    text = f"{len(errors)} finding(s) of severity error: {names}. Each is below with its line and fix."
    return Step("Mend the model where lint says so", text, f"qdiag explain {errors[0].code}")


def _look_there(verdict: Verdict) -> Step:
    site = f" at {str(verdict.first_departure)!r}" if verdict.first_departure else ""
    return Step(
        f"Look at the first departure{site}", "Its format, weights and BatchNorm statistics are in its section below."
    )


_BEST = Step(
    "Calibrate further, without labels",
    "Equalized channels, clipped ranges, corrected biases and trained rounding, in the same number formats: it takes "
    "minutes, so it was not tried here.",
    "calibrate(model, images)",
)


def _repair(repairs: Sequence[Trial], comparison: Comparison) -> Step:
    best = repairs[0]
    lane = comparison.lanes[-1]
    before = comparison.outputs[lane]
    others = "; ".join(f"{trial.title}: {describe(trial.output)}" for trial in repairs[1:])
    text = f"Tried here on {best.images} images: {describe(best.output)}; {lane} as it is {describe(before)}."
    return Step(f"Calibrate with {best.title}", text + (f" Also tried: {others}." if others else ""), best.code)
