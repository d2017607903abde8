"""The main job in one call: is it quantization, which layers, why, what next."""

from typing import Any

import torch
from torch import nn

from qdiag.comparison.compare import CALIBRATION_IMAGES, comparison_steps
from qdiag.explanation.culprit import covering
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.explain import explain, rank
from qdiag.explanation.trials import Trial, raised_steps, trial_steps
from qdiag.explanation.verdict import judge
from qdiag.linting.lint import lint_model
from qdiag.linting.lint_report import LintReport
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, run
from qdiag.quantization.calibrate import calibration_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import example

CULPRITS_RAISED = 5


def diagnose(
    model: nn.Module,
    data: Any,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    target: str = "tidl",
    on_progress: OnProgress = None,
) -> Diagnosis:
    """Lint, float against 16-bit and 8-bit, the layers to blame with their causes, and what to do next.

    model: left as it was. data: images, with labels where there are any (see `compare`). optimizer: the one that the
    model is or was trained with, for lint's rules on weight decay. calibration_data: where ranges come from; the first
    128 images of `data` if not given. per_channel, target: as for `calibrate`.

    Raises InputError, ModelError or OptionError before any long work where something cannot be used.
    """
    steps = diagnosis_steps(
        model, data, optimizer, per_channel=per_channel, calibration_data=calibration_data, target=target
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
) -> Steps[Diagnosis]:
    """`diagnose` as a generator of Progress."""
    quantized = yield from quantized_steps(
        model, data, per_channel=per_channel, calibration_data=calibration_data, target=target
    )
    lint = lint_model(model, example(data, model), optimizer)
    return (yield from explanation_steps(model, data, lint, quantized))


def quantized_steps(
    model: nn.Module,
    data: Any,
    *,
    per_channel: PerChannelOption = None,
    calibration_data: Any = None,
    target: str = "tidl",
) -> Steps[dict[str, QuantizedModel]]:
    """The model in 16 and in 8 bit by name, the finer first; ranges from the calibration data, else from the data."""
    source, images = (data, CALIBRATION_IMAGES) if calibration_data is None else (calibration_data, None)
    formats: list[tuple[Bits, PerChannelOption]] = [(16, per_channel), (8, per_channel)]
    models = yield from calibration_steps(model, source, "simple", formats, target=target, max_images=images)
    return {qm.plan.label: qm for qm in models}


def explanation_steps(
    model: nn.Module, data: Any, lint: LintReport, quantized: dict[str, QuantizedModel]
) -> Steps[Diagnosis]:
    """Comparison, trials where something is lost, and the explanation of quantized models, the finest first."""
    comparison = yield from comparison_steps(model, data, quantized=quantized)
    trials: tuple[Trial, ...] = ()
    if judge(comparison).kind in ("quantization", "small-loss"):
        coarse = list(quantized.values())[-1]
        trials = yield from trial_steps(model, data, comparison, coarse)
        worst = [culprit.layer.site for culprit in covering(rank(comparison, None, trials), 0.9)[:CULPRITS_RAISED]]
        repairs = [trial.images for trial in trials if trial.kind == "repair"]
        trials += ((yield from raised_steps(model, data, coarse, worst, max(repairs))),)
    return explain(comparison, lint, trials)
