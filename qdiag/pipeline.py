"""The main job in one call: is it quantization, which layers, why, what next."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from qdiag.comparison.brought import Brought, brought_steps
from qdiag.comparison.compare import CALIBRATION_IMAGES, comparison_steps
from qdiag.comparison.comparison import Comparison
from qdiag.comparison.labels import Task
from qdiag.comparison.outputs import OutputSums
from qdiag.explanation.culprit import covering
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.explain import explain, rank
from qdiag.explanation.trials import Ground, Trial, raised_steps, trial_steps
from qdiag.explanation.verdict import VerdictKind, judge
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, run
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.guest import borrow
from qdiag.tracing.inputs import example

CULPRITS_RAISED = 5
TRIED: tuple[VerdictKind, ...] = ("quantization", "small-loss", "not-quantization", "undecided")
"""Verdicts after which repairs are tried."""

Evaluate = Callable[[nn.Module], float]


def diagnose(
    model: nn.Module,
    data: Any,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    target: str = "tidl",
    task: Task | None = None,
    evaluate: Evaluate | None = None,
    on_progress: OnProgress = None,
) -> Diagnosis:
    """Lint, float against 16-bit and 8-bit, the layers to blame with their causes, and what to do next.

    model: left as it was. data: images, with labels where there are any (see `compare`). optimizer: the one that the
    model is or was trained with, for lint's rules on weight decay. calibration_data: where ranges come from; the first
    128 images of `data` if not given. per_channel, target: as for `calibrate`.
    task: what the outputs mean, see `compare`. evaluate: takes a model, gives your own figure of it, the higher the
    better; it decides then.

    Raises InputError, ModelError or OptionError before any long work where something cannot be used.
    """
    steps = diagnosis_steps(
        model,
        data,
        optimizer,
        per_channel=per_channel,
        calibration_data=calibration_data,
        target=target,
        task=task,
        evaluate=evaluate,
    )
    return run(steps, on_progress)


def diagnosis_steps(
    model: nn.Module,
    data: Any,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    target: str = "tidl",
    task: Task | None = None,
    evaluate: Evaluate | None = None,
) -> Steps[Diagnosis]:
    """`diagnose` as a generator of Progress."""
    quantized = yield from quantized_steps(
        model, data, per_channel=per_channel, calibration_data=calibration_data, target=target
    )
    lint = lint_model(model, example(data, model), optimizer)
    ground = Ground(model, data, calibration_source(data, calibration_data), task, evaluate is None)
    return (yield from explanation_steps(ground, lint, quantized, evaluate))


def quantized_steps(
    model: nn.Module,
    data: Any,
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    target: str = "tidl",
) -> Steps[dict[str, QuantizedModel]]:
    """The model in 16 and in 8 bit by name, the finer first; ranges from the calibration data, else from the data."""
    source, images = calibration_source(data, calibration_data)
    formats: list[tuple[Bits, PerChannelOption]] = [(16, per_channel), (8, per_channel)]
    models = yield from calibration_steps(model, source, "simple", formats, target=target, max_images=images)
    return {qm.plan.label: qm for qm in models}


def calibration_source(data: Any, calibration_data: Any) -> tuple[Any, int | None]:
    """Where ranges come from, and how many of the first images at most."""
    return (data, CALIBRATION_IMAGES) if calibration_data is None else (calibration_data, None)


def explanation_steps(
    ground: Ground,
    lint: LintReport,
    quantized: Mapping[str, QuantizedModel],
    evaluate: Evaluate | None = None,
    float_score: float | None = None,
    brought: Brought | None = None,
) -> Steps[Diagnosis]:
    """Comparison, trials where something is lost, and the explanation of quantized models, the finest first.

    float_score: what `evaluate` gives of the float model, where that is known. brought: the model that a trained one
    comes from, and that its outputs are held against.
    """
    comparison = yield from comparison_steps(
        ground.model, ground.data, quantized=quantized, task=ground.task, labels_decide=ground.labels_decide
    )
    if brought is not None:
        sums = OutputSums(len(quantized) + 1, ground.task, labels_decide=ground.labels_decide)
        comparison = yield from brought_steps(comparison, brought, ground.model, quantized, ground.data, sums)
    if evaluate is not None:
        if float_score is None:
            with borrow(ground.model):
                float_score = float(evaluate(ground.model))
        comparison = scored(comparison, quantized, evaluate, float_score)
    trials: tuple[Trial, ...] = ()
    if judge(comparison).kind in TRIED:
        coarse = list(quantized.values())[-1]
        trials = yield from trial_steps(ground, comparison, coarse)
        worst = [culprit.layer.site for culprit in covering(rank(comparison, None, trials), 0.9)[:CULPRITS_RAISED]]
        images = max(trial.images for trial in trials)
        if worst:
            trials += ((yield from raised_steps(ground, coarse, worst, images)),)
    return explain(comparison, lint, trials)


def scored(
    comparison: Comparison, quantized: Mapping[str, QuantizedModel], evaluate: Evaluate, float_score: float
) -> Comparison:
    """The comparison with the user's own figure of float and of each version."""
    outputs = {
        name: dataclasses.replace(output, float_score=float_score, score=float(evaluate(quantized[name])))
        for name, output in comparison.outputs.items()
    }
    return dataclasses.replace(comparison, outputs=outputs)
