"""`calibrate()`: a float model and unlabeled images in, a quantized model out."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from qdiag.errors import OptionError, QdiagWarning
from qdiag.numerics.ranges.minmax import MinMax
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.plan import QuantPlan
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, long_work
from qdiag.quantization.calibration import Applied, Calibration, Fidelity
from qdiag.quantization.calibration_checkpoint import CalibrationCheckpoint
from qdiag.quantization.checks import check_model
from qdiag.quantization.deadline import Deadline
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.methods.method import METHODS
from qdiag.quantization.observe import observe
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.raise_layers import raised_steps
from qdiag.quantization.reference_check import check_reference
from qdiag.quantization.techniques.technique import TECHNIQUES, Technique
from qdiag.subject import Subject
from qdiag.tracing.batches import Batches

DEFAULT_METHOD = "best"
LEAST_GAIN_DB = 0.1
"""Of a technique that is kept: less is chance on so few images, and changes what the next ones find for nothing."""


@long_work
def calibrate(
    model: nn.Module | Subject,
    data: Any = None,
    method: str | Sequence[str] = DEFAULT_METHOD,
    bits: Bits | MacBudget = 8,
    per_channel: PerChannelOption = None,
    *,
    target: str = "tidl",
    max_images: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    minutes: float | None = None,
    on_progress: OnProgress = None,
) -> Steps[QuantizedModel]:
    """Choose a power-of-two format for every stored tensor, and make weights fit theirs, from unlabeled images.

    A technique that takes the outputs no nearer to float is not kept; `calibration_report(result)` says so.

    Args:
        model: Left as it was; the result's `module` is this very model. Or a `Subject`, which holds the data as well.
        data: A DataLoader, a Dataset, a list of batches, or one tensor [N, ...]; labels are not used.
        method: "simple" (minimum and maximum), "advanced", "advanced-dw" or "best"; or names of techniques, in order:
            "equalization", "range-search", "probed-ranges", "gptq", "bias-correction", "reconstruction".
        bits: 8, 16, `Widths(weights=4, activations=8)`, or a mapping from layer names or patterns to these ("*" for all
            others). `MacBudget(percent=5)` has the layers chosen that are to have 16; it calibrates twice.
        per_channel: "depthwise" or "all" gives weights one scale for each output channel.
        target: The inference engine whose rounding is simulated.
        max_images: Use the first so many; 128 are plenty.
        checkpoint: A file that holds what is done so far, written after each technique; where it exists, go on from
            there.
        minutes: Leave the technique under way once so many have passed, and give what those before it reached, with a
            warning; ranges by minimum and maximum are there in any case. A checkpoint goes on later.
        on_progress: Called with each event; without it a bar appears for parts that take over two seconds.

    Raises:
        InputError: Before any long work, for data that cannot be used.
        ModelError: Before any long work, for a model that cannot be run or simulated as it is.
        OptionError: Before any long work, for options that are not on offer.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> quantized = calibrate(net, torch.rand(16, 3, 6, 6), "simple")
    >>> print(quantized.format(":input"))
    uint8 · 2^-8
    >>> quantized(torch.rand(2, 3, 6, 6)).shape
    torch.Size([2, 4, 6, 6])
    """
    images = Subject.for_ranges(model, data)
    formats = [(bits, per_channel)]
    found = yield from calibration_steps(
        images, method, formats, target=target, max_images=max_images, checkpoint=checkpoint, minutes=minutes
    )
    return found[0]


def calibration_steps(
    images: Subject,
    method: str | Sequence[str],
    formats: Sequence[tuple[Bits | MacBudget, PerChannelOption]],
    *,
    target: str = "tidl",
    max_images: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    minutes: float | None = None,
) -> Steps[list[QuantizedModel]]:
    """`calibrate` for several (bits, per_channel); the extremes are observed once.

    images: the model on the data that ranges come from. checkpoint: for one (bits, per_channel) alone. minutes: for
    each of them; half of it before a MacBudget has chosen, and half after.
    """
    halved = minutes if minutes is None else minutes / 2
    Deadline(minutes)  # refused now
    techniques, usual = _techniques(method)
    check_model(images.model)
    plans = [images.plan(first_bits(bits), option or usual, target) for bits, option in formats]
    check_reference(images)
    fitting = _Fitting(images, techniques, images.data.upto(max_images))
    models = []
    for plan, (bits, _) in zip(plans, formats, strict=True):
        time = halved if isinstance(bits, MacBudget) else minutes
        found = yield from fitting.steps(plan, checkpoint, Deadline(time))
        if isinstance(bits, MacBudget):
            raised = yield from raised_steps(found, fitting.data, bits)
            beside = None if checkpoint is None else Path(checkpoint).with_suffix(".mixed.pt")
            found = yield from fitting.steps(raised, beside, Deadline(time))
        models.append(found)
    return models


@dataclass
class _Fitting:
    """One model, data and list of techniques, for any number of plans; the extremes are observed once."""

    subject: Subject
    techniques: Sequence[type[Technique]]
    data: Batches
    observed: Calibration | None = None

    def steps(
        self, plan: QuantPlan, checkpoint: str | os.PathLike[str] | None, deadline: Deadline
    ) -> Steps[QuantizedModel]:
        model, channels_last = self.subject.model, self.subject.prefers_channels_last
        saved, known = None, None
        if checkpoint is not None:
            names = [technique.name for technique in self.techniques]
            saved = CalibrationCheckpoint(checkpoint, model, plan, names, self.data)
            known = saved.load()
        if known is None:
            if self.observed is None:
                self.observed = yield from observe(
                    model, plan.in_float(), self.data, MinMax, channels_last=channels_last
                )
            known = self.observed
        start = QuantizedModel(model, plan, known, channels_last=channels_last)
        return (yield from improved_steps(start, self.techniques, self.data, deadline, saved))


def first_bits(bits: Bits | MacBudget) -> Bits:
    """The formats that are planned before anything is measured."""
    return bits.others if isinstance(bits, MacBudget) else bits


def _techniques(method: str | Sequence[str]) -> tuple[list[type[Technique]], PerChannelOption]:
    """The techniques of a method and its own per_channel. Raises OptionError for a name that is not known."""
    if isinstance(method, str):
        return [TECHNIQUES[name] for name in METHODS[method].techniques], METHODS[method].per_channel
    if not isinstance(method, Sequence):
        raise OptionError(
            f"method={method!r}: give a method's name, or the names of techniques in a list.", code="option-value"
        )
    return [TECHNIQUES[name] for name in method], None


def improved_steps(
    model: QuantizedModel,
    techniques: Sequence[type[Technique]],
    images: Batches,
    deadline: Deadline,
    checkpoint: CalibrationCheckpoint | None = None,
) -> Steps[QuantizedModel]:
    """Each technique applied to what those before it left, and kept where it takes the outputs nearer to float."""
    history = model.calibration.history
    if len(history) == len(techniques):
        return model
    before = history[-1].reached if history else (yield from fidelity_steps(model, images))
    for technique in techniques[len(history) :]:
        tried = yield from deadline.within(_tried(technique, model, images))
        if tried is None:
            warnings.warn(_left_text(technique, deadline), QdiagWarning, stacklevel=2)
            break
        changed, after = tried
        kept = after.output_db >= before.output_db + LEAST_GAIN_DB
        applied = Applied(technique.name, technique.title, kept, before, after)
        model, before = (changed if kept else model), applied.reached
        model = model.change(calibration=model.calibration.noting(applied))
        if checkpoint is not None:
            checkpoint.save(model.calibration)
    return model


def _tried(
    technique: type[Technique], model: QuantizedModel, images: Batches
) -> Steps[tuple[QuantizedModel, Fidelity]]:
    """What a technique makes of a model, and how near to float that is."""
    changed = yield from technique().steps(model, images)
    after = yield from fidelity_steps(changed, images)
    return changed, after


def _left_text(technique: type[Technique], deadline: Deadline) -> str:
    return (
        f"{technique.name!r} was not done after {deadline.minutes:.3g} minutes, and is left out with what comes after "
        "it. Give more minutes, fewer images (max_images), or a checkpoint, from which a second call goes on."
    )
