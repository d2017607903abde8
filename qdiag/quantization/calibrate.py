"""`calibrate()`: a float model and unlabeled images in, a quantized model out."""

import os
from collections.abc import Sequence
from typing import Any

from torch import nn

from qdiag.errors import OptionError
from qdiag.numerics.ranges.minmax import MinMax
from qdiag.planning.plan import PerChannelOption, QuantPlan, plan_quantization
from qdiag.planning.widths import Bits
from qdiag.progress import OnProgress, Steps, run
from qdiag.quantization.calibration import Applied, Calibration
from qdiag.quantization.checkpoint import Checkpoint
from qdiag.quantization.checks import check_model
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.methods.method import METHODS
from qdiag.quantization.observe import observe, prefers_channels_last
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.technique import TECHNIQUES, Technique
from qdiag.tracing.inputs import example, first_images
from qdiag.tracing.tracer import trace

DEFAULT_METHOD = "best"


def calibrate(
    model: nn.Module,
    data: Any,
    method: str | Sequence[str] = DEFAULT_METHOD,
    bits: Bits = 8,
    per_channel: PerChannelOption = None,
    *,
    target: str = "tidl",
    max_images: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_progress: OnProgress = None,
) -> QuantizedModel:
    """Choose a power-of-two format for every stored tensor, and make weights fit theirs, from unlabeled images.

    model: left as it was; the result's `module` is this very model.
    data: a DataLoader, a Dataset, a list of batches, or one tensor [N, ...]; labels are not used.
    method: "simple" (minimum and maximum), "advanced", "advanced-dw" or "best"; or names of techniques, in order:
    "equalization", "range-search", "gptq", "bias-correction", "reconstruction". A technique that takes the outputs
    further from float than they were is not kept; `calibration_report(result)` says so.
    bits: 8, 16, `Widths(weights=4, activations=8)`, or a mapping from layer names or patterns to these ("*" for all
    others).
    per_channel: "depthwise" or "all" gives weights one scale for each output channel.
    target: the inference engine whose rounding is simulated.
    max_images: use the first so many; 128 are plenty.
    checkpoint: a file that holds what is done so far, written after each technique; where it exists, go on from there.

    Raises InputError, ModelError or OptionError before any long work where something cannot be used.
    """
    steps = calibration_steps(
        model, data, method, [(bits, per_channel)], target=target, max_images=max_images, checkpoint=checkpoint
    )
    return run(steps, on_progress)[0]


def calibration_steps(
    model: nn.Module,
    data: Any,
    method: str | Sequence[str],
    formats: Sequence[tuple[Bits, PerChannelOption]],
    *,
    target: str = "tidl",
    max_images: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Steps[list[QuantizedModel]]:
    """`calibrate` for several (bits, per_channel), as a generator of Progress; the extremes are observed once.

    checkpoint: for one (bits, per_channel) alone.
    """
    techniques, usual = _techniques(method)
    check_model(model)
    traced = trace(model, example(data, model))
    plans: list[QuantPlan] = [plan_quantization(traced, bits, option or usual, target) for bits, option in formats]
    channels_last = prefers_channels_last(model, data)
    images = first_images(data, model, max_images)
    saved, known = None, None
    if checkpoint is not None:
        saved = Checkpoint(checkpoint, model, plans[0], [technique.name for technique in techniques], images)
        known = saved.load()
    if known is None:
        ranges = yield from observe(model, plans[0].in_float(), images, MinMax, channels_last=channels_last)
        known = Calibration(ranges, ranges)
    models = []
    for plan in plans:
        start = QuantizedModel(model, plan, known, channels_last=channels_last)
        models.append((yield from _improved(start, techniques, images, saved)))
    return models


def _techniques(method: str | Sequence[str]) -> tuple[list[type[Technique]], PerChannelOption]:
    """The techniques of a method and its own per_channel. Raises OptionError for a name that is not known."""
    if isinstance(method, str):
        return [TECHNIQUES[name] for name in METHODS[method].techniques], METHODS[method].per_channel
    if not isinstance(method, Sequence):
        raise OptionError(f"method={method!r}: give a method's name, or the names of techniques in a list.")
    return [TECHNIQUES[name] for name in method], None


def _improved(
    model: QuantizedModel, techniques: Sequence[type[Technique]], images: Any, checkpoint: Checkpoint | None
) -> Steps[QuantizedModel]:
    """Each technique applied to what those before it left, and kept where it does the outputs no harm."""
    history = model.calibration.history
    if len(history) == len(techniques):
        return model
    before = history[-1].reached if history else (yield from fidelity_steps(model, images))
    for technique in techniques[len(history) :]:
        changed = yield from technique().steps(model, images)
        after = yield from fidelity_steps(changed, images)
        kept = after.output_db >= before.output_db
        applied = Applied(technique.name, technique.title, kept, before, after)
        model, before = (changed if kept else model), applied.reached
        model = model.change(calibration=model.calibration.noting(applied))
        if checkpoint is not None:
            checkpoint.save(model.calibration)
    return model
