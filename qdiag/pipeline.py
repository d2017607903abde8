"""The main job in one call: is it quantization, which layers, why, what next."""

import dataclasses
from collections.abc import Mapping
from typing import Any, SupportsFloat

import torch
from torch import nn

from qdiag.comparison.brought import Brought, brought_steps
from qdiag.comparison.compare import compare
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.figure import Figure
from qdiag.comparison.figure_readings import better_by_figure
from qdiag.explanation.culprit import covering
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.explain import explain, rank
from qdiag.explanation.mends import mend_steps, raised_steps
from qdiag.explanation.repairs import repairs_steps
from qdiag.explanation.trials import trial_steps
from qdiag.explanation.verdict import VerdictKind, judge
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Progress, Steps, long_work
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.deadline import Deadline
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Evaluate, Subject, Task
from qdiag.tracing.batches import Adapt

CULPRITS_RAISED = 5
MINUTES = 2.0
"""For repairs that search, so that a diagnosis has an end."""
TRIED: tuple[VerdictKind, ...] = ("quantization", "small-loss", "not-quantization", "undecided")
"""Verdicts after which repairs are tried."""


@long_work
def diagnose(
    model: nn.Module | Subject,
    data: Any = None,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    target: str = "tidl",
    task: Task | None = None,
    evaluate: Evaluate | None = None,
    batch: Adapt | None = None,
    minutes: float | None = MINUTES,
    on_progress: OnProgress = None,
) -> Steps[Diagnosis]:
    """Lint, float against 16-bit and 8-bit, the layers to blame with their causes, and what to do next.

    Args:
        model: Left as it was; or a `Subject`, which holds the data as well.
        data: Images, with labels where there are any (see `compare`).
        optimizer: The one that the model is or was trained with, for lint's rules on weight decay.
        per_channel: As for `calibrate`.
        calibration_data: Where ranges come from; the first 128 images of `data` if not given.
        target: As for `calibrate`.
        task: What the outputs mean, see `compare`.
        evaluate: Takes a model, gives your own figure of it, the higher the better; it decides then, also of repairs.
        batch: Takes a batch as the data gives it, gives what the model takes or (inputs, labels); see `Subject`.
        minutes: For repairs that search; the steps name what there was no time for. None is without an end.
        on_progress: Called with each event; without it a bar appears for parts that take over two seconds.

    Raises:
        InputError: Before any long work, for data that cannot be used.
        ModelError: Before any long work, for a model that cannot be run or simulated as it is.
        OptionError: Before any long work, for options that are not on offer.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> diagnose(net, torch.rand(64, 3, 6, 6)).verdict.kind
    'healthy'
    """
    Deadline(minutes)  # refused now
    subject = Subject.of(model, data, calibration_data=calibration_data, task=task, evaluate=evaluate, batch=batch)
    quantized = yield from quantized_steps(subject, per_channel=per_channel, target=target)
    lint = lint_model(subject, optimizer=optimizer)
    return (yield from explanation_steps(subject, lint, quantized, minutes=minutes))


def quantized_steps(
    subject: Subject, *, per_channel: PerChannelOption = None, target: str = "tidl"
) -> Steps[dict[str, QuantizedModel]]:
    """The model in 16 and in 8 bit by name, the finer first."""
    formats: list[tuple[Bits, PerChannelOption]] = [(16, per_channel), (8, per_channel)]
    models = yield from calibration_steps(subject.calibration, "simple", formats, target=target)
    return {one.plan.label: one for one in models}


def explanation_steps(
    subject: Subject,
    lint: LintReport,
    quantized: Mapping[str, QuantizedModel],
    float_figure: SupportsFloat | None = None,
    brought: Brought | None = None,
    minutes: float | None = MINUTES,
) -> Steps[Diagnosis]:
    """Comparison, trials where something is lost, and the explanation of quantized models, the finest first.

    float_figure: what the user's `evaluate` gives of the float model, where that is known. brought: the model that a
    trained one comes from, and that its outputs are held against. minutes: see `diagnose`.
    """
    comparison = yield from compare.steps(subject, quantized=quantized)
    if brought is not None:
        comparison = yield from brought_steps(comparison, brought, subject, quantized)
    figure = Figure.of_float(subject, float_figure)
    if figure is not None:
        comparison = yield from scored_steps(comparison, quantized, figure, subject)
    if judge(comparison).kind not in TRIED:
        return explain(comparison, lint)
    coarse, deadline = list(quantized.values())[-1], Deadline(minutes)
    repairs = yield from repairs_steps(subject, coarse, deadline)
    trials = yield from trial_steps(subject, comparison, coarse, repairs.made, figure=figure)
    suspects = rank(comparison, None, trials)
    culprits = covering(suspects, 0.9)[:CULPRITS_RAISED]
    if culprits:
        before = next((trial.before for trial in trials if trial.before is not None), None)
        worst, images = [culprit.layer.site for culprit in culprits], max(trial.images for trial in trials)
        trials += ((yield from raised_steps(subject, coarse, worst, images, before, figure)),)
        trials += yield from mend_steps(subject, coarse, culprits, suspects, images, repairs.made, deadline)
    diagnosis = explain(comparison, lint, trials, repairs.untried)
    advised = {step.code for step in diagnosis.steps}
    versions = {repair.code: repair.changed for repair in repairs.made if repair.code in advised}
    return dataclasses.replace(diagnosis, versions=versions)


def scored_steps(
    comparison: Comparison, quantized: Mapping[str, QuantizedModel], figure: Figure, subject: Subject
) -> Steps[Comparison]:
    """The comparison with the user's own figure; where float's is low, float is tried on images read in other ways."""
    outputs = {}
    for number, (name, output) in enumerate(comparison.outputs.items()):
        yield Progress(f"measuring {figure.name}", number, len(quantized))
        outputs[name] = figure.within(output, quantized[name])
    probe = comparison.probe
    if figure.is_low:
        probe = dataclasses.replace(probe, better=better_by_figure(subject.model, figure))
    return dataclasses.replace(comparison, outputs=outputs, probe=probe)
