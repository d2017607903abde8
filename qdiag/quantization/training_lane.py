"""A lane that can be trained: its rounding lets gradients through."""

import torch
from torch import Tensor, nn

from qdiag.numerics.channels import shift_factor
from qdiag.numerics.fake_quantize import integer_bounds
from qdiag.numerics.merge import input_first
from qdiag.numerics.qparams import weight_qparams
from qdiag.numerics.rounding import Rounding
from qdiag.numerics.ste import round_through
from qdiag.planning.layer import Layer
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.lane import Lane
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.site import Site


class TrainedLayer(nn.Module):
    """A layer's weight and bias as parameters, each in units of the step that it is rounded to.

    So that one learning rate means the same for all layers. step: of the weight, to broadcast against [C, ...].
    bias_step: [C] or [1], the step of the tensor that the layer's result is stored in.
    """

    def __init__(self, own: LayerWeights, step: Tensor, bias_step: Tensor, ends: tuple[int, int], rounding: Rounding):
        super().__init__()
        self.step, self.bias_step, self.ends, self.rounding = step, bias_step, ends, rounding
        self.made_from: tuple[str, ...] = own.made_from
        self.steps = nn.Parameter((own.weight / step).clamp(ends[0] - 0.49, ends[1] + 0.49))
        bias = torch.zeros(len(own.weight), device=step.device) if own.bias is None else own.bias
        self.bias_steps = nn.Parameter(bias / bias_step)

    @property
    def weight(self) -> Tensor:
        """On its grid, output channels first."""
        return round_through(self.steps, self.rounding, *map(float, self.ends)) * self.step

    @property
    def bias(self) -> Tensor:
        return self.bias_steps * self.bias_step

    def layer_weights(self) -> LayerWeights:
        """What was learned."""
        return LayerWeights(self.weight.detach(), self.bias.detach(), self.made_from)


class TrainingLane(Lane):
    """The quantized model with parameters of its own in `layers_trained`, by site; the user's are not touched."""

    def __init__(self, model: QuantizedModel):
        super().__init__(model.module, model.plan, model.calibration, channels_last=model.channels_last)
        self.trained: dict[Site, TrainedLayer] = {}
        for layer in self.plan.layers:
            own = self.weights(layer) if layer.is_weighted and layer.weight is not None else None
            if own is not None:
                self.trained[layer.site] = self._trained(layer, own)

    def _trained(self, layer: Layer, own: LayerWeights) -> TrainedLayer:
        assert layer.weight is not None
        factor = self.weight_factor(layer, own.weight)
        qparams = weight_qparams(layer.weight, own.weight * factor)
        step = torch.as_tensor(qparams.scale(own.weight), device=own.weight.device) / factor
        output = self.qparams.get(layer.site)
        bias_step = torch.tensor([float(own.weight.abs().max()) if output is None else output.scale(own.weight)])
        shift = self.calibration.shifts.get(layer.site)
        if shift is not None:
            bias_step = bias_step / shift_factor(shift, bias_step)
        ends = (qparams.qtype.qmin, qparams.qtype.qmax)
        return TrainedLayer(own, step, bias_step.to(own.weight), ends, qparams.rounding)

    def _prepare(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        trained = self.trained.get(layer.site)
        if trained is None:
            return super()._prepare(layer, weight, bias)
        prepared = input_first(trained.weight, layer.is_transposed, layer.groups)
        if self.channels_last and prepared.ndim == 4:
            prepared = prepared.contiguous(memory_format=torch.channels_last)
        return prepared, trained.bias

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, factor = self.qparams.get(layer.site), self.factor(layer, result)
        if qparams is None:
            return result
        step = torch.as_tensor(qparams.scale(result)) if factor is None else qparams.scale(result) / factor
        stored = round_through(result / step, qparams.rounding, *integer_bounds(qparams, layer.bounds)) * step
        if not layer.is_input and self.plan.trace[layer.sites[-1]].in_place:
            result.copy_(stored)  # the forward may go on with the tensor that it wrote to
            return result
        return stored
