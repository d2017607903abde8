"""Where a layer's weight comes from: the model's own tensors, or what calibration put in their place."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from qdiag.contents import contents_of
from qdiag.errors import ModelError
from qdiag.numerics.merge import NormState, output_first
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.numerics import OwnWeights
from qdiag.tracing.site import Site
from qdiag.tracing.tensors import named_tensor

Stamp = tuple[tuple[int, int, str], ...]


@final
class WeightSource:
    """Finds the weights of a plan's layers in a model.

    given: weights in place of the model's own, by layer; read anew at each call.
    """

    def __init__(self, model: nn.Module, plan: QuantPlan, given: Mapping[Site, LayerWeights]):
        self.model, self.plan, self.given = model, plan, given

    def own(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> OwnWeights:
        """What a layer has before rounding, of the weight and bias that its operation is called with.

        Raises ModelError where calibration gave it others, and the model's own have changed since.
        """
        given = self.given.get(layer.site)
        if given is None:
            return OwnWeights(output_first(weight, layer.is_transposed, layer.groups), bias, self._norm(layer))
        if given.made_from != self._contents(layer, weight, bias):
            raise ModelError(
                f"{str(layer.site)!r} has other weights now than when it was calibrated, and calibration changed them. "
                "Load weights before calibrating, or calibrate again.",
                code="weights-changed",
            )
        return OwnWeights(given.weight, given.bias)

    def named(self, layer: Layer) -> OwnWeights | None:
        """The same without a forward, of the model's parameters; None where there are none, or they are computed."""
        found = self._parameters(layer)
        return None if found is None else self.own(layer, *found)

    def layer_weights(self, layer: Layer) -> LayerWeights | None:
        """`named`, with BatchNorm merged in: what a technique may exchange for others."""
        found = self._parameters(layer)
        if found is None:
            return None
        weight, bias = self.own(layer, *found).detached().merged()
        return LayerWeights(weight, bias, self._contents(layer, *found))

    def stamp(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> Stamp:
        """Another one as soon as one of the tensors holds other values, also where they were written past autograd."""
        return tuple(
            (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version, contents_of(tensor))
            for tensor in self._tensors(layer, weight, bias)
        )

    def _contents(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> tuple[str, ...]:
        return tuple(contents_of(tensor) for tensor in self._tensors(layer, weight, bias))

    def _tensors(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> list[Tensor]:
        """All that a layer's weight is made of."""
        norm = self._norm(layer)
        parts = () if norm is None else (norm.mean, norm.variance, norm.weight, norm.bias)
        return [tensor for tensor in (weight, bias, *parts) if tensor is not None]

    def _parameters(self, layer: Layer) -> tuple[Tensor, Tensor | None] | None:
        if not layer.is_weighted:
            return None
        call = self.plan.trace[layer.site]
        found = [call.tensor("weight"), call.tensor("bias")]
        if any(value is not None and value.kind != "parameter" for value in found):
            return None
        weight, bias = (None if value is None else named_tensor(self.model, value.name) for value in found)
        return None if weight is None else (weight, bias)

    def _norm(self, layer: Layer) -> NormState | None:
        """The norm's tensors as they are now."""
        return None if layer.norm is None else layer.norm.state(self.model)
