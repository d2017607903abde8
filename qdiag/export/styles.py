"""The two ways in which a file says what fixed point it is meant for."""

from typing import ClassVar

import torch
from torch import Tensor

from qdiag.export.export_lane import ExportLane, clip, dequantize, quantize
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan

UINT_DTYPES = {8: torch.uint8, 16: torch.uint16}
INT_DTYPES = {8: torch.int8, 16: torch.int16}


class QdqLane(ExportLane):
    """QuantizeLinear and DequantizeLinear at every stored tensor; weights and biases as integers.

    A ReLU6 whose 6 lies inside its format is a Clip between two such pairs of the same scale. That is exact, and the
    convolution before it is quantized at once, as runtimes want it in order to compute it in integers.
    """

    name: ClassVar = "qdq"

    @staticmethod
    def formats(plan: QuantPlan) -> QuantPlan:
        """What weights are rounded to: the formats of the simulation."""
        return plan

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        qparams = self.qparams.get(layer.site)
        if qparams is None:
            return result
        low, high = self.bounds(layer)
        exponent, site = int(qparams.exponent), str(layer.site)
        dtype = (INT_DTYPES if qparams.qtype.signed else UINT_DTYPES)[qparams.qtype.bits]
        if high < qparams.high or (low > qparams.low and low != 0):
            result = dequantize(quantize(result, exponent, dtype, ""), exponent)
            result = clip(result, low, high)
        elif low == 0:
            result = torch.relu(result)
        return dequantize(quantize(result, exponent, dtype, site), exponent)


class ClipsLane(ExportLane):
    """A float network, with a Clip at every stored tensor: to powers of two, from which an importer takes its scales.

    A tensor in [0, 2^k] gets an unsigned format and one in [-2^k, 2^k] a signed one; a ReLU is the Clip's lower end,
    and a ReLU6 its upper end.
    """

    name: ClassVar = "clips"

    @staticmethod
    def formats(plan: QuantPlan) -> QuantPlan:
        """Weights are left to the importer, which rounds them as the simulation does."""
        return plan.change(weight=dict.fromkeys((layer.site for layer in plan.layers), None))

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        qparams = self.qparams.get(layer.site)
        if qparams is None:
            return result
        low, high = self.bounds(layer)
        least = -qparams.clip if qparams.qtype.signed else 0.0
        return clip(result, max(low, least), min(high, qparams.clip), str(layer.site))


STYLES: dict[str, type[QdqLane] | type[ClipsLane]] = {lane.name: lane for lane in (QdqLane, ClipsLane)}
