"""One numeric version of a forward: the operations of the user's model, carried out as a plan says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn

from qdiag.numerics.ready_weight import WeightFacts
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.finite_guard import FiniteGuard
from qdiag.quantization.float_numerics import FloatNumerics
from qdiag.quantization.fusion_guard import FusionGuard
from qdiag.quantization.input_layers import input_layers
from qdiag.quantization.numerics import Numerics, Operands
from qdiag.quantization.operation import Operation
from qdiag.quantization.watchers import Watchers
from qdiag.quantization.weight_source import Stamp, WeightSource
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.intercept import exchange_tensors, is_float, tensors_in
from qdiag.tracing.operations import OperationKind, kind_of
from qdiag.tracing.site import Site

Rewrite = Callable[[Operation], Operation]
"""Gives the operation to carry out in place of the one that the forward asks for."""


@final
class Interpreter:
    """Carries out single operations: what the plan makes one layer becomes one layer, in the numbers of a `Numerics`.

    plan: every stored tensor that it gives a format is rounded by the numerics, the others stay as computed.
    given: weights in place of the model's own. channels_last: hold 4-D weights in that layout.
    keeps_weights: prepare a weight once, until the model's own change; False where they learn, or are recorded.
    rewrite: for every operation, before all else. stays_finite: NaN or infinity that arises is an error.
    unplanned: layers that ran though no trace had seen them, and so ran in float.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: QuantPlan,
        numerics: Numerics,
        *,
        given: Mapping[Site, LayerWeights] | None = None,
        watchers: Watchers | None = None,
        rewrite: Rewrite | None = None,
        channels_last: bool = False,
        keeps_weights: bool = True,
        stays_finite: bool = False,
    ):
        self.model, self.plan, self.numerics, self.channels_last = model, plan, numerics, channels_last
        self.layers = plan.by_site
        self.weights = WeightSource(model, plan, {} if given is None else given)
        self.watchers, self.rewrite, self.keeps_weights = watchers or Watchers(), rewrite, keeps_weights
        self.guard = FusionGuard(plan.layers)
        self.finite = FiniteGuard(plan) if stays_finite else None
        self.unplanned: set[Site] = set()
        self.weight_facts: dict[Site, WeightFacts] = {}
        self._kept: dict[Site, tuple[Stamp, Operands]] = {}
        self._running_norms: set[Site] = set()  # layers whose BatchNorm is not in their operands

    @classmethod
    def in_float(
        cls,
        model: nn.Module,
        plan: QuantPlan,
        *,
        given: Mapping[Site, LayerWeights] | None = None,
        watchers: Watchers | None = None,
        channels_last: bool = False,
    ) -> "Interpreter":
        """The float network with the plan's layers: what fixed point is compared with."""
        return cls(model, plan.in_float(), FloatNumerics(), given=given, watchers=watchers, channels_last=channels_last)

    def leaves_alone(self, site: Site) -> bool:
        """True where the layer at a site is computed as in float."""
        layer = self.layers[site]
        return layer.weight is None and layer.output is None

    def inputs(self, inputs: Inputs) -> Inputs:
        """The network's inputs as they are stored; the user's own tensors stay as they are."""
        layers = input_layers(self.model, self.plan, inputs)
        if self.finite is not None:
            self.finite.begin()

        def one(tensor: Tensor) -> Tensor:
            layer = layers.get(id(tensor))
            return tensor if layer is None else self._stored(layer, tensor.clone())

        return inputs.map(one)

    def run(self, operation: Operation, *, aside: bool = False) -> Any:
        """The result of one operation. Raises ModelError where the forward leaves the plan.

        aside: it is no part of the forward, which may hold NaN and infinity then.
        """
        site, layer = operation.site, self.layers.get(operation.site)
        if self.rewrite is not None:
            operation = self.rewrite(operation)
        if layer is None:
            if site not in self.plan.traced and kind_of(site.op) not in (OperationKind.OTHER, OperationKind.SAME_RANGE):
                self.unplanned.add(site)
            result = operation()
            self._keep_to_plan(operation, result)
            if self.finite is not None and not aside:
                self.finite.see(operation, result)
            return result
        result = self._in_layer(layer, operation)
        self._keep_to_plan(operation, result)
        if self.finite is not None and not aside:
            self.finite.see(operation, result)
            self.finite.store(layer, result)
        if site == layer.sites[-1]:
            return self._last(layer, result)
        self.guard.leave(site, result)
        return result

    def _in_layer(self, layer: Layer, operation: Operation) -> Any:
        if layer.is_weighted and operation.site == layer.site:
            return self._weighted(layer, operation)
        is_merged_norm = layer.norm is not None and operation.site in layer.norm.sites
        is_fused_end = operation.site == layer.sites[-1] and layer.fuses_bounds
        if is_fused_end or (is_merged_norm and layer.site not in self._running_norms):
            return operation.first
        return operation()

    def _keep_to_plan(self, operation: Operation, result: Any) -> None:
        """Hold every operation to the plan, save for questions about a tensor, which the trace did not record."""
        if (self.guard.open or operation.site in self.guard.inner) and tensors_in(result):
            self.guard.enter(operation.site, operation.tensors)

    # Stored tensors -----------------------------------------------------------------------------------

    def store(self, site: Site, result: Tensor) -> Tensor:
        """What becomes of the result of the layer at a site, which may be overwritten."""
        layer = self.layers[site]
        return result if layer.output is None else self.numerics.stored(layer, result)

    def _stored(self, layer: Layer, result: Tensor) -> Tensor:
        stored = self.store(layer.site, result)
        if self.watchers.stored is not None:
            self.watchers.stored(layer, stored)
        return stored

    def _last(self, layer: Layer, result: Any) -> Any:
        tensor = next((tensor for tensor in tensors_in(result) if is_float(tensor)), None)
        if tensor is None:
            return result
        stored = self._stored(layer, tensor)
        if stored is tensor:
            return result
        if self.plan.trace[layer.sites[-1]].in_place and not stored.requires_grad:
            tensor.copy_(stored)  # the forward may go on with the tensor that it wrote to
            return result
        return exchange_tensors(result, lambda leaf: stored if leaf is tensor else leaf)

    # Weights ------------------------------------------------------------------------------------------

    def _weighted(self, layer: Layer, operation: Operation) -> Any:
        watchers = self.watchers
        if watchers.arriving is not None:
            watchers.arriving(layer, operation)
        arguments = operation.arguments
        operands = self._operands(layer, arguments["weight"], arguments.get("bias"))
        if watchers.multiplied is not None:
            watchers.multiplied(layer, operands)
        result = operation.given(weight=operands.weight, bias=operands.bias)()
        exchanged = None if watchers.weighted is None else watchers.weighted(layer, operation, result)
        return result if exchanged is None else exchanged

    def _operands(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> Operands:
        if not self.keeps_weights:
            return self._prepared(layer, weight, bias)
        stamp = self.weights.stamp(layer, weight, bias)
        known = self._kept.get(layer.site)
        if known is not None and known[0] == stamp:
            return known[1]
        operands = self._prepared(layer, weight, bias)
        if isinstance(weight, nn.Parameter):  # a weight computed in the forward is another tensor each time
            self._kept[layer.site] = stamp, operands
        return operands

    def _prepared(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> Operands:
        operands = self.numerics.weight(layer, self.weights.own(layer, weight, bias))
        if self.channels_last and operands.weight.ndim == 4:
            laid_out = operands.weight.contiguous(memory_format=torch.channels_last)
            operands = replace(operands, weight=laid_out)
        if operands.facts is not None:
            self.weight_facts[layer.site] = operands.facts
        if not operands.has_norm:
            self._running_norms.add(layer.site)
        elif self._running_norms:
            self._running_norms.discard(layer.site)
        return operands

    def operands(self, layer: Layer) -> Operands | None:
        """What a layer multiplies by, without a forward; None where it has no weight, or computes it in its forward."""
        own = self.weights.named(layer)
        if own is None:
            return None
        operands = self.numerics.weight(layer, own)
        if operands.facts is not None:
            self.weight_facts[layer.site] = operands.facts
        return operands

    def facts(self, layer: Layer) -> WeightFacts | None:
        """What became of a layer's weight; None as for `operands`, and where the numerics do not tell."""
        if layer.is_weighted and layer.site not in self.weight_facts:
            self.operands(layer)
        return self.weight_facts.get(layer.site)
