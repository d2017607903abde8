"""The user's own figure of float on its images read in other ways: where one is far higher, the images are wrong."""

import math

from torch import nn

from qdiag.comparison.evaluated import ByImage, evaluated
from qdiag.comparison.figure import LOW, Figure, drop_interval
from qdiag.comparison.readings import CHANGES, Change, Reading, is_image, told
from qdiag.errors import QdiagError
from qdiag.tracing.borrowing import borrow

LEAST_FACTOR = 2.0
"""So many times float's figure another reading has to reach."""


def better_by_figure(model: nn.Module, figure: Figure) -> Reading | None:
    """The reading with which float's figure is surely far higher, by the most; None without one."""
    with borrow(model):
        tried = [_reading(model, figure, how) for how in told(list(CHANGES), "reading images in other ways")]
    return max((one for one in tried if one is not None), key=lambda one: one.right, default=None)


def _reading(model: nn.Module, figure: Figure, how: str) -> Reading | None:
    best = figure.best
    assert best is not None, "only of a figure whose best is known it is said that it is low"
    try:
        own = evaluated(figure.evaluate, _Otherwise(model, CHANGES[how])).figure
    except QdiagError:  # a function of the user's, given another module than it was written for
        return None
    reached, given = float(own), float(figure.reference)
    if not math.isfinite(reached) or reached < max(given + LOW * best, LEAST_FACTOR * given):
        return None
    interval = drop_interval(own, figure.reference, best)  # of how much lower it is with the images as they came
    if interval is not None and interval[0] <= 0:
        return None
    images = own.images if isinstance(own, ByImage) else 0
    return Reading(how, images, reached / best, given / best, interval, figure.name)


class _Otherwise(nn.Module):
    """A model that reads its images in another way."""

    def __init__(self, model: nn.Module, change: Change):
        super().__init__()
        self.model, self.change = model, change
        self.training = model.training

    def forward(self, *inputs: object) -> object:
        return self.model(*(self.change(x).contiguous() if is_image(x) else x for x in inputs))
