"""Ranges of every stored tensor, from float forwards over calibration data."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from qdiag.errors import ModelError, QdiagWarning
from qdiag.numerics.ranges.range import Range, RangeEstimator
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.progress import Progress, Steps
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.quantized_model import unplanned_warning
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.batches import batches
from qdiag.tracing.borrowing import borrow_stepwise
from qdiag.tracing.site import Site


class _Observed:
    """What estimators saw of every stored tensor."""

    def __init__(self, plan: QuantPlan, new: Callable[[], RangeEstimator]):
        self.plan, self.estimators = plan, {layer.site: new() for layer in plan.layers}

    def see(self, layer: Layer, stored: Tensor) -> None:
        self.estimators[layer.site].update(stored)

    def ranges(self) -> Mapping[Site, Range]:
        """Raises ModelError, naming the first site in the forward's order, where a tensor became NaN or infinite."""
        found = {site: estimator.range() for site, estimator in self.estimators.items()}
        for layer in self.plan.layers:
            if not found[layer.site].is_finite:
                raise ModelError(
                    f"the float model itself computes NaN or infinity, first at site {str(layer.site)!r}. "
                    "Lint names weights and BatchNorm statistics that do this: lint_model(model, images).",
                    code="float-not-finite",
                )
        return found


def observe(
    model: nn.Module,
    plan: QuantPlan,
    data: Any,
    new: Callable[[], RangeEstimator],
    *,
    channels_last: bool,
) -> Steps[Calibration]:
    """Ranges by site, from float forwards over the data: what calibration sets out from."""
    observed = _Observed(plan, new)
    interpreter = Interpreter.in_float(model, plan, watchers=Watchers(stored=observed.see), channels_last=channels_last)
    images = yield from run_over(interpreter, data, "calibrating", after_first=observed.ranges)
    ranges = observed.ranges()
    return Calibration(ranges, ranges, images=images)


def run_over(
    interpreter: Interpreter, data: Any, label: str, *, after_first: Callable[[], object] = lambda: None
) -> Steps[int]:
    """Run a numeric version over the data, for its watchers; the number of images.

    after_first: called after the first batch, so that what cannot come out well is refused before the others.
    """

    def steps() -> Steps[int]:
        run, images = InterpreterRun(interpreter), 0
        for progress, batch in Progress.over(batches(data, interpreter.model), label):
            run.forward(batch.inputs.in_layout(interpreter.channels_last))
            images += batch.inputs.batch_size
            if progress.done == 1:
                after_first()
            yield progress
        return images

    images = yield from borrow_stepwise(interpreter.model, steps())
    if interpreter.unplanned:
        warnings.warn(unplanned_warning(interpreter.unplanned), QdiagWarning, stacklevel=2)
    return images
