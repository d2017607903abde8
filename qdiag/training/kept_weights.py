"""The weights that a run is to end with: those of its best epoch."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from qdiag.training.epoch import Metrics

BEGINNING = 0
"""The number of the epoch before the first."""


@dataclass(frozen=True)
class KeptWeights:
    """Of one epoch. figure: of the validation data, the higher the better. weights: as `weights_of` gives them."""

    epoch: int
    figure: float
    weights: Mapping[str, Any]

    @classmethod
    def of(cls, epoch: int, metrics: Metrics, model: nn.Module) -> "KeptWeights | None":
        """A copy of the model's weights as they are now; None where nothing was measured, or NaN."""
        figure = _figure(metrics)
        return None if math.isnan(figure) else cls(epoch, figure, copy.deepcopy(weights_of(model)))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"epoch": self.epoch, "figure": self.figure, "weights": self.weights}


def better(known: KeptWeights | None, epoch: int, metrics: Metrics, model: nn.Module) -> KeptWeights | None:
    """What is known, or the model as it is now where that is no worse: of two alike, the one trained longer."""
    if known is not None and not _figure(metrics) >= known.figure:
        return known
    return KeptWeights.of(epoch, metrics, model) or known


def _figure(metrics: Metrics) -> float:
    """The first of an epoch's metrics, in which it is told how good a model is; NaN where there is none."""
    for name, value in metrics.items():
        return value if name.endswith("_percent") else -value
    return math.nan


def weights_of(model: nn.Module) -> dict[str, Any]:
    """All that a forward depends on: the state_dict, and the buffers that it leaves out."""
    state = model.state_dict()
    return {"model": state, "buffers": {name: buffer for name, buffer in model.named_buffers() if name not in state}}


def put_weights(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Make a model what it was. Raises torch's errors for the weights of a model with other parts."""
    model.load_state_dict(weights["model"])
    buffers = dict(model.named_buffers())
    for name, value in weights["buffers"].items():
        buffers[name].data.copy_(value)
