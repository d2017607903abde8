"""The two ways in which a file says what fixed point it is meant for."""

import math
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from qdiag.export.constant_tensors import ConstantTensors
from qdiag.export.operators import clip, dequantize, quantize
from qdiag.numerics.qparams import QParams
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.formats import Formats
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights

Style = Literal["qdq", "clips"]

UINT_DTYPES = {8: torch.uint8, 16: torch.uint16}
INT_DTYPES = {8: torch.int8, 16: torch.int16}


@final
class IntegerNumerics(Numerics):
    """QuantizeLinear and DequantizeLinear at every stored tensor; weights and biases as integers.

    A ReLU6 whose 6 lies inside its format is a Clip between two such pairs of the same scale. That is exact, and the
    convolution before it is quantized at once, as runtimes want it in order to compute it in integers.
    """

    name: ClassVar = "qdq"

    def __init__(self, formats: Formats, constants: ConstantTensors):
        self.formats, self.constants = formats, constants

    @staticmethod
    def weight_formats(plan: QuantPlan) -> QuantPlan:
        """What weights are rounded to: the formats of the simulation."""
        return plan

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        return self.constants.operands(layer)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        qparams = self.formats.qparams[layer.site]
        (low, high), written = _bounds(layer), result
        if high < qparams.high or (low > qparams.low and low != 0):
            written = clip(_rounded(written, qparams), low, high)
        elif low == 0:
            written = torch.relu(written)
        return _written_over(layer, result, _rounded(written, qparams, str(layer.site)))


@final
class ClipNumerics(Numerics):
    """A float network, with a Clip at every stored tensor: to powers of two, from which an importer takes its scales.

    A tensor in [0, 2^k] gets an unsigned format and one in [-2^k, 2^k] a signed one; a ReLU is the Clip's lower end,
    and a ReLU6 its upper end.
    """

    name: ClassVar = "clips"

    def __init__(self, formats: Formats, constants: ConstantTensors):
        self.formats, self.constants = formats, constants

    @staticmethod
    def weight_formats(plan: QuantPlan) -> QuantPlan:
        """Weights are left to the importer, which rounds them as the simulation does."""
        return plan.change(weight=dict.fromkeys((layer.site for layer in plan.layers), None))

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        return self.constants.operands(layer)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, (low, high) = self.formats.qparams[layer.site], _bounds(layer)
        least = -qparams.clip if qparams.qtype.signed else 0.0
        written = clip(result, max(low, least), min(high, qparams.clip), str(layer.site))
        return _written_over(layer, result, written)


def _rounded(x: Tensor, qparams: QParams, site: str = "") -> Tensor:
    """To the format's integers and back; the integers are those of the tensor stored at `site`."""
    dtype = (INT_DTYPES if qparams.qtype.signed else UINT_DTYPES)[qparams.qtype.bits]
    integers = quantize(x, qparams.tensor_scale, dtype, site)
    return dequantize(integers, torch.tensor(qparams.tensor_scale))


def _bounds(layer: Layer) -> tuple[float, float]:
    """Of the ReLU-like operation that did not run; infinite where there is none."""
    return layer.bounds if layer.bounds is not None and layer.fuses_bounds else (-math.inf, math.inf)


def _written_over(layer: Layer, result: Tensor, written: Tensor) -> Tensor:
    """What is stored, in the result's own memory: a forward may hold that under another name."""
    return written if layer.is_input else result.copy_(written)


STYLES: dict[str, type[IntegerNumerics] | type[ClipNumerics]] = {
    numerics.name: numerics for numerics in (IntegerNumerics, ClipNumerics)
}
