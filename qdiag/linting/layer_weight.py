"""What a layer's weights look like to the target: merged with the BatchNorm after them, one range for each channel."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from qdiag.numerics.channels import DEAD
from qdiag.numerics.merge import NormState, merge, output_first
from qdiag.tracing.trace import Call

LARGE = 2.0**-4


@dataclass(frozen=True)
class LayerWeight:
    """Figures of one layer's merged weight; the weight itself is not kept.

    call: the layer's first run. name: the weight's. size: how many values it has.
    ranges: the largest magnitude of each output channel. large: how many values are over a sixteenth of the largest.
    """

    call: Call
    name: str
    size: int
    ranges: Float[Tensor, " out"]
    large: int

    @property
    def largest(self) -> float:
        return float(self.ranges.max())

    @property
    def alive(self) -> Bool[Tensor, " out"]:
        """Which channels hold anything that 16 bits can see."""
        return self.ranges > DEAD * self.ranges.max()


def merged_weight(call: Call, weight: Tensor, norm: NormState | None) -> Float[Tensor, "out ..."]:
    """The weight, output channels first, as the target stores it; in float32 or better."""
    exact = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    weight = output_first(exact, "transpose" in call.op, call.arguments.get("groups", 1))
    return weight if norm is None else merge(weight, None, norm)[0]


def measure(call: Call, name: str, weight: Float[Tensor, "out ..."]) -> LayerWeight | None:
    """The figures of a merged weight; None where it is empty or not finite."""
    magnitude = weight.abs()
    ranges = magnitude.flatten(1).amax(1) if weight.numel() else magnitude.flatten()
    if not weight.numel() or not bool(torch.isfinite(ranges).all()):
        return None
    large = int(torch.count_nonzero(magnitude > LARGE * ranges.max()))
    return LayerWeight(call, name, weight.numel(), ranges.cpu(), large)
