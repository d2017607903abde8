"""What to do next, in the order in which it pays."""

from collections.abc import Sequence

from qdiag.comparison.comparison import Comparison
from qdiag.comparison.output_error import OutputError
from qdiag.explanation.culprit import Culprit
from qdiag.explanation.loss import LIMIT_POINTS, Loss, describe, images_needed, loss
from qdiag.explanation.next_step import NextStep
from qdiag.explanation.repairs import Untried
from qdiag.explanation.trials import LEAST_GAIN_DB, Trial
from qdiag.explanation.verdict import Verdict
from qdiag.linting.finding import Finding
from qdiag.linting.lint_report import LintReport
from qdiag.linting.rule import find_rule

LEAST_REGAINED = 0.1
"""Of what the user's own figure lost: a repair that is advised brings back so much of it."""

_BEFORE_BITS = {
    "float-is-wrong": NextStep(
        "Get float right on this data first",
        "Run the float model on a few of these images by hand, prepared as in training, and hold its answers against "
        "the labels. Everything below stands on that.",
    ),
    "not-repeatable": NextStep(
        "Make the forward one function of its images",
        "Draw no random numbers in it, and let BatchNorm use its running statistics, when the model is in eval mode.",
    ),
    "cannot-judge": NextStep(
        "Say what counts",
        "Let the forward return tensors, or give a function from a model to its figure, the higher the better.",
        "diagnose(model, data, evaluate=evaluate)",
    ),
}


def next_steps(
    verdict: Verdict,
    comparison: Comparison,
    culprits: Sequence[Culprit],
    trials: Sequence[Trial],
    lint: LintReport | None,
    untried: Sequence[Untried] = (),
) -> tuple[NextStep, ...]:
    """What comes before bits; mends in the model; repairs that were tried and helped, 8-bit ones first; training."""
    if verdict.kind in _BEFORE_BITS:
        return (_BEFORE_BITS[verdict.kind], *_mends(lint))
    before = comparison.outputs[comparison.lanes[-1]]
    steps = [*_mends(lint)]
    if verdict.kind == "healthy":
        return (*steps, _KEEP)
    if verdict.kind == "undecided":
        steps.append(_more_images(before))
    if verdict.kind == "not-quantization":
        steps.append(_look_there(verdict))
    repairs = [trial for trial in trials if trial.kind == "repair"]
    if not repairs:
        text = "The usual repairs were not tried yet: diagnose() runs them, and says what each of them brings."
        return (*steps, NextStep("Try the repairs", text, "diagnose(model, loader, optimizer)"))
    useful = _worthwhile(sorted((trial for trial in repairs if _helps(trial, before)), key=_preference))
    in_place = [trial for trial in useful if not trial.widens]
    steps += [_repair(trial, before) for trial in in_place[:2]]
    if untried:
        steps.append(_more_time(untried))
    steps += [_repair(trial, before) for trial in useful if trial.widens][:1]
    if all(loss(trial.output) is Loss.LARGE for trial in repairs if _is_judged(trial)):
        steps.append(_TRAIN)
    return tuple(steps)


def _mends(lint: LintReport | None) -> list[NextStep]:
    errors = [] if lint is None else [finding for finding in lint.findings if finding.severity == "error"]
    errors = [finding for finding in errors if not find_rule(finding.code).is_met_by_calibration]
    return [_mend(errors)] if errors else []


def _mend(errors: Sequence[Finding]) -> NextStep:
    names = ", ".join(dict.fromkeys(f"{finding.code} {finding.name}" for finding in errors))
    text = f"{len(errors)} finding(s) of severity error: {names}. Each is below with its line and fix."
    return NextStep("Mend the model where lint says so", text, f"qdiag rule {errors[0].code}")


def _look_there(verdict: Verdict) -> NextStep:
    site = f" at {str(verdict.first_departure)!r}" if verdict.first_departure else ""
    return NextStep(
        f"Look at the first departure{site}", "Its format, weights and BatchNorm statistics are in its section below."
    )


def _more_images(output: OutputError) -> NextStep:
    text = f"{output.images} are too few to tell a loss of nothing from one of more than {LIMIT_POINTS:g} points."
    return NextStep(f"Measure on about {images_needed(output)} images", text)


def _helps(trial: Trial, before: OutputError) -> bool:
    """True where a repair loses less than the formats as they are, or gains what shows: on the same images."""
    before = trial.before or before
    if not _is_judged(trial):
        return False
    if loss(trial.output) < loss(before):
        return True
    return _gains(trial.output, before) and loss(trial.output) <= loss(before)


def _is_judged(trial: Trial) -> bool:
    """False where the user's own figure decides, and this was not worth measuring by it."""
    return trial.before is None or trial.before.score is None or trial.output.score is not None


def _gains(after: OutputError, before: OutputError) -> bool:
    if after.score is None or before.score is None or before.float_score is None:
        return after.worst_sqnr_db >= before.worst_sqnr_db + LEAST_GAIN_DB
    lost = max(0.0, before.float_score - before.score)
    return after.score > before.score and after.score - before.score >= LEAST_REGAINED * lost


def _worthwhile(useful: Sequence[Trial]) -> list[Trial]:
    """Without those that leave a large loss, where others do not."""
    enough = [trial for trial in useful if loss(trial.output) is not Loss.LARGE]
    return enough or list(useful)


def _preference(trial: Trial) -> tuple[int, int, int, float]:
    """What leaves a large loss last; else the order in which a user would accept it; where something is lost, the best.

    Repairs that lose nothing keep the order in which they were tried, the quickest first.
    """
    lost, output = loss(trial.output), trial.output
    figure = output.worst_sqnr_db if output.score is None else output.score
    return int(lost is Loss.LARGE), trial.cost, int(lost), 0.0 if lost is Loss.NONE else -figure


def _more_time(untried: Sequence[Untried]) -> NextStep:
    names = " and ".join(one.title for one in untried)
    text = f"Time was up before this was tried: {names}. diagnose(minutes=…) with more of them tries it."
    return NextStep("Try what there was no time for", text, untried[0].code)


_KEEP = NextStep("Keep this calibration", "Nothing is lost that calibration or training could win back.")
_TRAIN = NextStep(
    "Train with quantization (QAT)",
    f"Calibration that still loses more than {LIMIT_POINTS:g} points is where training begins to pay: a few epochs at "
    "a small learning rate from these weights.",
)


def _repair(trial: Trial, before: OutputError) -> NextStep:
    same = trial.before or before
    text = f"Tried here on {trial.images} images: {describe(trial.output)}; as it is it {describe(same)} on these."
    return NextStep(f"Calibrate with {trial.title}", text, trial.code)
