"""The user's own figure of a model, beside what it is of float; with an interval where it can tell its images apart."""

from dataclasses import replace
from typing import Protocol, SupportsFloat, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from qdiag.comparison.intervals import LEAST_RESAMPLED, Interval, resampled_counts
from qdiag.comparison.output_error import OutputError
from qdiag.subject import Evaluate, Subject
from qdiag.tracing.borrowing import borrow

DRAWS = 500
LOW = 0.1
"""Of the best there is: a float model below may have been given other images than those of its training."""


@runtime_checkable
class ByImage(Protocol):
    """What an `evaluate` may give in place of a number: a figure that knows what it would be on other images.

    images: how many it is of.
    """

    images: int

    def __float__(self) -> float:
        """The figure."""
        ...

    def on(self, counts: Float[Tensor, "draws images"]) -> Float[Tensor, " draws"]:
        """What it would be with each image taken so many times."""
        ...


class Figure:
    """An `evaluate` of the user's, and what it gives of the float model.

    evaluate: its `figure`, if it has one, is what it is called, and its `best` what a perfect model reaches.
    """

    def __init__(self, evaluate: Evaluate, reference: SupportsFloat):
        self.evaluate, self.reference = evaluate, reference
        self.name = str(getattr(evaluate, "figure", OutputError.figure))
        self.best: float | None = getattr(evaluate, "best", None)

    @classmethod
    def of_float(cls, subject: Subject, known: SupportsFloat | None = None) -> "Figure | None":
        """None without an `evaluate`. known: what it gives of the float model, where that was asked for before."""
        if subject.evaluate is None:
            return None
        if known is None:
            with borrow(subject.model):
                known = subject.evaluate(subject.model)
        return cls(subject.evaluate, known)

    @property
    def is_low(self) -> bool:
        """True where float reaches so little of what is possible that the fault may be in its images."""
        return self.best is not None and float(self.reference) < LOW * self.best

    def within(self, output: OutputError, model: nn.Module) -> OutputError:
        """The output of this model with its figure."""
        own = self.evaluate(model)
        return replace(
            output,
            score=float(own),
            float_score=float(self.reference),
            score_interval=drop_interval(self.reference, own),
            score_best=self.best,
            figure=self.name,
        )


def drop_interval(reference: SupportsFloat, own: SupportsFloat) -> Interval | None:
    """95 % of how much lower `own` is: by drawing the images anew; None where the two cannot tell images apart."""
    if not isinstance(reference, ByImage) or not isinstance(own, ByImage) or reference.images != own.images:
        return None
    if own.images < LEAST_RESAMPLED:
        return None
    counts = resampled_counts(own.images, DRAWS)
    ends = torch.quantile(reference.on(counts) - own.on(counts), torch.tensor([0.025, 0.975], dtype=torch.float64))
    low, high = ends.tolist()
    return low, high
