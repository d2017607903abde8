"""The user's own figure of a model, beside what it is of float; with an interval where it can tell its images apart."""

import math
from dataclasses import replace
from typing import SupportsFloat

import torch
from torch import nn

from qdiag.comparison.evaluated import ByImage, as_figure, drawn, evaluated
from qdiag.comparison.intervals import LEAST_RESAMPLED, Interval, Pairs, resampled_counts
from qdiag.comparison.output_error import OutputError, scale_of
from qdiag.errors import OptionError
from qdiag.subject import Evaluate, Subject
from qdiag.tracing.borrowing import borrow

DRAWS = 500
LOW = 0.1
"""Of the best there is: a float model below may have been given other images than those of its training."""


class Figure:
    """An `evaluate` of the user's, and what it gives of the float model.

    evaluate: its `figure`, if it has one, is what it is called, and its `best` what a perfect model reaches.

    Raises OptionError for a best that is no number, or that float surpasses.
    """

    def __init__(self, evaluate: Evaluate, reference: SupportsFloat):
        self.evaluate, self.reference = evaluate, as_figure(reference)
        self.name = str(getattr(evaluate, "figure", OutputError.figure))
        self.best = _best(evaluate, float(self.reference))

    @classmethod
    def of_float(cls, subject: Subject, known: SupportsFloat | None = None) -> "Figure | None":
        """None without an `evaluate`. known: what it gives of the float model, where that was asked for before."""
        if subject.evaluate is None:
            return None
        if known is None:
            with borrow(subject.model):
                known = evaluated(subject.evaluate, subject.model).figure
        return cls(subject.evaluate, known)

    @property
    def is_low(self) -> bool:
        """True where float reaches so little of what is possible that the fault may be in its images."""
        reached = float(self.reference)
        return self.best is not None and self.best > 0 and math.isfinite(reached) and reached < LOW * self.best

    def within(self, output: OutputError, model: nn.Module) -> OutputError:
        """The output of this model with its figure."""
        found = evaluated(self.evaluate, model)
        reached, own = float(self.reference), found.figure
        return replace(
            output,
            score=float(own),
            float_score=reached,
            score_interval=drop_interval(self.reference, own, scale_of(reached, self.best)),
            score_best=self.best,
            score_is_own=found.was_called or float(own) != reached,
            figure=self.name,
        )


def _best(evaluate: Evaluate, reached: float) -> float | None:
    best = getattr(evaluate, "best", None)
    if best is None:
        return None
    try:
        number = float(best)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or reached > number + 1e-6 * abs(number):
        raise OptionError(
            f"evaluate.best is {best!r}, and the float model reaches {reached:.4g}. It is a number, what a perfect "
            "model would reach in the same unit; leave it out where nobody knows.",
            code="option-value",
        )
    return number


def drop_interval(reference: SupportsFloat, own: SupportsFloat, scale: float) -> Interval | None:
    """95 % of how much lower `own` is: by drawing the images anew; None where the two cannot tell images apart.

    Where no draw tells the two apart, as much as images without a flip leave open, of a figure of this scale.
    """
    if not isinstance(reference, ByImage) or not isinstance(own, ByImage) or reference.images != own.images:
        return None
    if own.images < LEAST_RESAMPLED:
        return None
    counts = resampled_counts(own.images, DRAWS)
    lower = drawn(reference, counts) - drawn(own, counts)
    lower = lower[lower.isfinite()]  # without an object of a class, a draw may have no figure
    if len(lower) < DRAWS / 2:
        return None
    if not lower.any():
        least, most = Pairs(own.images, 0.0, 0.0, 0.0).interval()
        return scale * least, scale * most
    low, high = torch.quantile(lower, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
