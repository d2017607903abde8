"""Numbers whose weights are parameters of their own, and whose rounding lets gradients through."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from qdiag.numerics.fake_quantize import integer_bounds
from qdiag.numerics.merge import input_first
from qdiag.numerics.rounding import Rounding
from qdiag.numerics.shifts import bias_factor
from qdiag.numerics.ste import round_through
from qdiag.planning.layer import Layer
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.fixed_numerics import FixedNumerics
from qdiag.quantization.formats import Formats
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.site import Site


class TrainedLayer(nn.Module):
    """A layer's weight and bias as parameters, in units of the scales that they are rounded at.

    So that one learning rate means the same for all layers. scale: of the weight, to broadcast against [C, ...].
    bias_scale: [C] or [1], the scale of the tensor that the layer's result is stored in.
    """

    def __init__(self, own: LayerWeights, scale: Tensor, bias_scale: Tensor, ends: tuple[int, int], rounding: Rounding):
        super().__init__()
        self.scale, self.bias_scale, self.ends, self.rounding = scale, bias_scale, ends, rounding
        self.made_from: tuple[str, ...] = own.made_from
        self.in_scale_units = nn.Parameter((own.weight / scale).clamp(ends[0] - 0.49, ends[1] + 0.49))
        bias = torch.zeros(len(own.weight), device=scale.device) if own.bias is None else own.bias
        self.bias_in_scale_units = nn.Parameter(bias / bias_scale)

    @property
    def weight(self) -> Tensor:
        """On its grid, output channels first."""
        return round_through(self.in_scale_units, self.rounding, *map(float, self.ends)) * self.scale

    @property
    def bias(self) -> Tensor:
        return self.bias_in_scale_units * self.bias_scale

    def layer_weights(self) -> LayerWeights:
        """What was learned."""
        return LayerWeights(self.weight.detach(), self.bias.detach(), self.made_from)


@final
class ReconstructionNumerics(Numerics):
    """The quantized network with trained layers in place of the user's own, which are not touched."""

    def __init__(self, formats: Formats, trained: Mapping[Site, TrainedLayer]):
        self.formats, self.trained, self.untrained = formats, trained, FixedNumerics(formats)

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        trained = self.trained.get(layer.site)
        if trained is None:
            return self.untrained.weight(layer, own)
        return Operands(input_first(trained.weight, layer.is_transposed, layer.groups), trained.bias)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, factor = self.formats.qparams[layer.site], self.formats.factor(layer, result)
        scale = torch.as_tensor(qparams.scale(result)) if factor is None else qparams.scale(result) / factor
        stored = round_through(result / scale, qparams.rounding, *integer_bounds(qparams, layer.bounds)) * scale
        if not layer.is_input and self.formats.plan.trace[layer.sites[-1]].in_place:
            result.copy_(stored)  # the forward may go on with the tensor that it wrote to
            return result
        return stored


def trained_layers(model: QuantizedModel) -> dict[Site, TrainedLayer]:
    """Of every layer whose weight has a format and is no result of the forward."""
    found = {}
    for layer in model.plan.layers:
        own = model.weights(layer) if layer.weight is not None else None
        if own is not None:
            found[layer.site] = _trained(layer, own, model.formats)
    return found


def _trained(layer: Layer, own: LayerWeights, formats: Formats) -> TrainedLayer:
    format = formats.weight(layer).free
    factor = format.factor(own.weight)
    qparams = format.qparams(own.weight * factor)
    assert qparams is not None, "layers without a format are not trained"
    scale = torch.as_tensor(qparams.scale(own.weight), device=own.weight.device) / factor
    output = formats.qparams.get(layer.site)
    bias_scale = torch.tensor([float(own.weight.abs().max()) if output is None else output.scale(own.weight)])
    if format.written is not None:
        bias_scale = bias_scale / bias_factor(format.written, bias_scale)
    ends = (qparams.qtype.qmin, qparams.qtype.qmax)
    return TrainedLayer(own, scale, bias_scale.to(own.weight), ends, qparams.rounding)
