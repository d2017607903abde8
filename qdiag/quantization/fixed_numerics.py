"""The numbers of the target: rounded to powers of two, as its integers are."""

from typing import final

from torch import Tensor

from qdiag.numerics.fake_quantize import fake_quantize_
from qdiag.numerics.merge import input_first
from qdiag.numerics.ready_weight import ready_weight
from qdiag.planning.layer import Layer
from qdiag.quantization.formats import Formats
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights


@final
class FixedNumerics(Numerics):
    """Computes in floats what the target computes in integers, in the user's own scale.

    A channel that the target stores multiplied by a power of two is rounded as such, and divided again, which is exact.
    """

    def __init__(self, formats: Formats):
        self.formats = formats

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        own = own.detached()
        ready = ready_weight(own.weight, own.bias, own.norm, self.formats.weight(layer))
        return Operands(input_first(ready.weight, layer.is_transposed, layer.groups), ready.bias, ready.facts)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, factor = self.formats.qparams[layer.site], self.formats.factor(layer, result)
        if factor is None:
            return fake_quantize_(result, qparams, layer.bounds)
        return fake_quantize_(result.mul_(factor), qparams, layer.bounds).div_(factor)
