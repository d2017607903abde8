"""What a layer's weights look like to the target: merged with the BatchNorm after them, one range for each channel."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from qdiag.numerics.merge import NormState, merge, output_first
from qdiag.tracing.trace import Call


# A channel under this part of the layer's largest is 0 even in 16 bits, whatever float says.
DEAD = 2.0**-16


@dataclass(frozen=True)
class LayerWeight:
    """Figures of one layer's merged weight; the weight itself is not kept.

    call: the layer's first run. name: the weight's. ranges: the largest magnitude of each output channel.
    """

    call: Call
    name: str
    ranges: Float[Tensor, " out"]

    @property
    def largest(self) -> float:
        return float(self.ranges.max())

    @property
    def alive(self) -> Bool[Tensor, " out"]:
        """Which channels hold anything that 16 bits can see."""
        return self.ranges > DEAD * self.ranges.max()


def merged_weight(call: Call, weight: Tensor, norm: NormState | None) -> Float[Tensor, "out ..."]:
    """The weight, output channels first, as the target stores it."""
    weight = output_first(weight.detach(), "transpose" in call.op, call.arguments.get("groups", 1))
    return weight if norm is None else merge(weight, None, norm)[0]


def channel_ranges(weight: Float[Tensor, "out ..."]) -> Float[Tensor, " out"]:
    """The largest magnitude of each output channel."""
    return weight.abs().flatten(1).amax(1).cpu()
