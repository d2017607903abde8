"""The numbers of the network as it is, with Conv and BatchNorm merged."""

from typing import final

from torch import Tensor

from qdiag.numerics.merge import input_first
from qdiag.numerics.ready_weight import WeightFormat, ready_weight
from qdiag.planning.layer import Layer
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights


@final
class FloatNumerics(Numerics):
    """Rounds nothing: the reference that other versions are compared with."""

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        own = own.detached()
        ready = ready_weight(own.weight, own.bias, own.norm, WeightFormat())
        return Operands(input_first(ready.weight, layer.is_transposed, layer.groups), ready.bias, ready.facts)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        return result.clamp_(*layer.bounds) if layer.fuses_bounds and layer.bounds is not None else result
