"""The float model, run a few times on the same images: whether it is one function of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.comparison.output_leaves import constant_leaves
from qdiag.comparison.readings import Reading, better_reading
from qdiag.subject import Subject
from qdiag.tracing.batches import Batch
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs, floating_leaves
from qdiag.tracing.intercept import Function, Interceptor
from qdiag.tracing.operations import RANDOM, OperationKind, bind, kind_of
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Trace

IMAGES = 8
LEAST_HALVED = 4
"""Images of which half are still several: a BatchNorm by the batch cannot run on one."""
SAME = 1e-3
"""Relative difference of two float results up to which they are the same: above it kernels do not explain it."""


@dataclass(frozen=True)
class NormShift:
    """The first BatchNorm's input on these images, beside the statistics that training left in it.

    offset: of its channels' means, in their deviations. spread: of their deviations, as a factor. Medians of channels.
    """

    site: Site
    offset: float
    spread: float


@dataclass(frozen=True)
class Probe:
    """What runs of the float model on its first images show.

    repeat_difference: of two runs on the same images, relative. batch_difference: of images among fewer and among more
    others. constants: names of outputs that do not depend on the images. active: operations that draw at random or use
    the batch's statistics though the model is in eval mode. was_training: modules that would behave differently in the
    mode that the model came in. norm_shift: None without a trained BatchNorm. better: another way to read the images in
    which float is surely right more often; None where there is none.
    """

    repeat_difference: float = 0.0
    batch_difference: float = 0.0
    constants: frozenset[str] = frozenset()
    active: tuple[str, ...] = ()
    was_training: tuple[str, ...] = ()
    norm_shift: NormShift | None = None
    better: Reading | None = None

    @property
    def is_repeatable(self) -> bool:
        return self.repeat_difference <= SAME and self.batch_difference <= SAME

    @property
    def repeat_db(self) -> float:
        """Of two float runs, one as the noise of the other."""
        worst = max(self.repeat_difference, self.batch_difference)
        return -20 * math.log10(worst) if worst else math.inf


def probe(subject: Subject) -> Probe:
    """Run the model on its first images in several ways, which leave it as it was."""
    found = _probe(subject.model, subject.data.first, subject.trace)
    return replace(found, better=better_reading(subject)) if found.is_repeatable else found


def _probe(model: nn.Module, batch: Batch, traced: Trace) -> Probe:
    was_training = tuple(name or "the model" for name, module in model.named_modules() if _differs_in_training(module))
    part = batch.split(IMAGES)[0]
    can_halve = part.is_divisible and part.inputs.batch_size >= LEAST_HALVED
    few = part.split(part.inputs.batch_size // 2)[0].inputs if can_halve else part.inputs
    with borrow(model):
        watch = _NormWatch(model)
        with watch:
            many = forward(model, part.inputs.map(torch.clone), watch)
        first, again = (_run(model, few) for _ in range(2))
        darker = _run(model, few.map(lambda t: t * 0.5 if t.is_floating_point() else t))
    repeat = _difference(floating_leaves(first), floating_leaves(again))
    return Probe(
        repeat_difference=repeat,
        batch_difference=_half_difference(many, first, part) if can_halve and repeat <= SAME else 0.0,
        constants=constant_leaves(first, darker),
        active=_active(traced),
        was_training=was_training,
        norm_shift=watch.shift,
    )


def _run(model: nn.Module, inputs: Inputs) -> Any:
    return forward(model, inputs.map(torch.clone))  # the forward may write to them


def _difference(reference: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """The largest relative difference of two results; infinite where they are of other shapes."""
    if [tensor.shape for tensor in reference] != [tensor.shape for tensor in other]:
        return math.inf
    found = 0.0
    for one, two in zip(reference, other, strict=True):
        norm = float(one.double().norm())
        found = max(found, float((one.double() - two.double()).norm()) / norm if norm else 0.0)
    return found if math.isfinite(found) else 0.0


def _half_difference(many: Any, half: Any, part: Batch) -> float:
    """Of the first half's outputs; 0 where these do not stand along the first axis."""
    pairs = list(zip(floating_leaves(many), floating_leaves(half), strict=False))
    images = part.inputs.batch_size
    cut = [(one[: images // 2], two) for one, two in pairs if one.ndim and len(one) == images]
    fits = [(one, two) for one, two in cut if one.shape == two.shape]
    return _difference([one for one, _ in fits], [two for _, two in fits])


def _differs_in_training(module: nn.Module) -> bool:
    is_dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    return module.training and (is_dropout or isinstance(module, nn.modules.batchnorm._BatchNorm))


def _active(traced: Trace) -> tuple[str, ...]:
    """Operations that draw at random or normalize by the batch, in eval mode."""
    found = []
    for call in traced.calls:
        training = call.arguments.get("training")
        draws = call.op in RANDOM and training is not False and call.arguments.get("p", 1.0) != 0
        by_batch = call.kind is OperationKind.NORM and training is True
        if by_batch or (draws and (training is True or call.op.endswith("_like") or call.op in _ALWAYS)):
            found.append(str(call.site))
    return tuple(found)


_ALWAYS = {"bernoulli", "multinomial", "poisson", "normal", "uniform", "random", "exponential", "gumbel_softmax"}


class _NormWatch(Interceptor):
    """Sees what comes into the first BatchNorm."""

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.shift: NormShift | None = None
        self.is_trained = any(
            int(buffer) > 0 for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")
        )

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.shift is None and self.is_trained and kind_of(site.op) is OperationKind.NORM:
            self.shift = _norm_shift(site, bind(site.op, args, kwargs, function))
        return function(*args, **kwargs)


def _norm_shift(site: Site, given: dict[str, Any]) -> NormShift | None:
    x, mean, variance = given.get("input"), given.get("running_mean"), given.get("running_var")
    if not isinstance(x, Tensor) or not isinstance(mean, Tensor) or not isinstance(variance, Tensor) or x.ndim < 2:
        return None
    values = x.detach().movedim(1, 0).flatten(1).double()
    deviation = variance.double().sqrt()
    alive = deviation > 1e-3 * float(deviation.max())
    if values.shape[1] < 2 or not bool(alive.any()):
        return None
    offset = ((values.mean(1) - mean.double()).abs() / deviation)[alive].median()
    spread = (values.std(1) / deviation)[alive].median()
    return NormShift(site, float(offset), float(spread))
