"""A numeric version that rounds stochastically."""

from typing import final

import torch
from torch import Tensor

from qdiag.numerics.fake_quantize import integer_bounds
from qdiag.numerics.merge import input_first
from qdiag.numerics.qparams import QParams
from qdiag.planning.layer import Layer
from qdiag.quantization.formats import Formats
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights


@final
class StochasticRounding(Numerics):
    """Rounds up as often as a value is near its upper neighbour, so that errors are zero on average (arXiv:1502.02551).

    Formats are the target's; biases stay in float.
    """

    def __init__(self, formats: Formats, seed: int = 0):
        self.formats, self.generator = formats, torch.Generator().manual_seed(seed)

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        weight, bias = own.detached().merged()
        format = self.formats.weight(layer)
        factor = format.factor(weight)
        qparams = format.qparams(weight * factor)
        if qparams is not None:
            ends = qparams.qtype.qmin, qparams.qtype.qmax
            weight = self._rounded(weight * factor, qparams, ends) / factor
        return Operands(input_first(weight, layer.is_transposed, layer.groups), bias)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, factor = self.formats.qparams[layer.site], self.formats.factor(layer, result)
        ends = integer_bounds(qparams, layer.bounds)
        if factor is None:
            return self._rounded(result, qparams, ends)
        return self._rounded(result * factor, qparams, ends) / factor

    def _rounded(self, x: Tensor, qparams: QParams, ends: tuple[float, float]) -> Tensor:
        scale = qparams.scale(x)
        chance = torch.rand(x.shape, generator=self.generator).to(x)
        return torch.floor(x / scale + chance).clamp(*ends) * scale
