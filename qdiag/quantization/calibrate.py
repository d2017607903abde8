"""`calibrate()`: a float model and unlabeled images in, a quantized model out."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from qdiag.planning.plan import Bits, PerChannelOption, QuantPlan, plan_quantization
from qdiag.progress import OnProgress, Steps, run
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.checks import check_model
from qdiag.quantization.methods.method import METHODS
from qdiag.quantization.observe import observe, prefers_channels_last
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import example
from qdiag.tracing.tracer import trace


def calibrate(
    model: nn.Module,
    data: Any,
    method: str = "simple",
    bits: Bits = 8,
    per_channel: PerChannelOption = None,
    *,
    target: str = "tidl",
    max_images: int | None = None,
    on_progress: OnProgress = None,
) -> QuantizedModel:
    """Choose a power-of-two format for every stored tensor by running the float model on calibration images.

    model: left as it was; the result's `module` is this very model.
    data: a DataLoader, a Dataset, a list of batches, or one tensor [N, ...]; labels are not used.
    bits: 8, 16, or a mapping from layer names or patterns to bits ("*" for all others).
    per_channel: "depthwise" or "all" gives weights one scale for each output channel.
    target: the inference engine whose rounding is simulated.

    Raises InputError, ModelError or OptionError before any long work where something cannot be used.
    """
    steps = calibration_steps(model, data, method, [(bits, per_channel)], target=target, max_images=max_images)
    return run(steps, on_progress)[0]


def calibration_steps(
    model: nn.Module,
    data: Any,
    method: str,
    formats: Sequence[tuple[Bits, PerChannelOption]],
    *,
    target: str = "tidl",
    max_images: int | None = None,
) -> Steps[list[QuantizedModel]]:
    """One pass over the data for several (bits, per_channel): the ranges are the same for all of them."""
    chosen = METHODS[method]
    check_model(model)
    traced = trace(model, example(data, model))
    plans: list[QuantPlan] = [plan_quantization(traced, bits, per_channel, target) for bits, per_channel in formats]
    channels_last = prefers_channels_last(model, data)
    float_plan = plan_quantization(traced, None, target=target)
    ranges = yield from observe(
        model, float_plan, data, chosen.estimator, channels_last=channels_last, max_images=max_images
    )
    return [QuantizedModel(model, plan, Calibration(ranges), channels_last=channels_last) for plan in plans]
