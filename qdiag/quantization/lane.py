"""One numeric version of a forward: the operations of the user's model, carried out as a plan says."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.numerics.bias import quantize_bias
from qdiag.numerics.fake_quantize import fake_quantize, fake_quantize_
from qdiag.numerics.granularity import PerChannel
from qdiag.numerics.merge import NormState, input_first, merge, output_first
from qdiag.numerics.qparams import QParams, activation_qparams, weight_qparams
from qdiag.numerics.ranges.range import Range
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.way import Way
from qdiag.tracing.inputs import Inputs, forward, named_leaves
from qdiag.tracing.intercept import Function, Interceptor, is_float, tensors_in
from qdiag.tracing.norms import MergedNorm
from qdiag.tracing.operations import Kind, bind, kind_of, replace_arguments
from qdiag.tracing.site import Site

Stamp = tuple[int, int, int, float]


@dataclass(frozen=True)
class WeightFacts:
    """What became of a layer's weight, merged with its BatchNorm.

    channel_max: largest magnitude of each output channel [C], before quantization. qparams: None in a float plan.
    signal, noise: sums of squares of the weight and of its rounding error, for each output channel [C].
    saturated: bias channels that do not fit the accumulator.
    """

    channel_max: Tensor
    qparams: QParams | None
    signal: Tensor
    noise: Tensor
    saturated: int


class Lane:
    """Carries out single operations in a plan's number formats.

    ranges: of every stored tensor that the plan gives a format. channels_last: hold 4-D weights in that layout.
    unplanned: layers that ran though no trace had seen them, and so ran in float.
    """

    def __init__(self, model: nn.Module, plan: QuantPlan, ranges: Mapping[Site, Range], *, channels_last: bool = False):
        self.model, self.plan, self.channels_last = model, plan, channels_last
        self.layers = plan.by_site
        self.qparams = {
            layer.site: activation_qparams(layer.output, ranges[layer.site])
            for layer in plan.layers
            if layer.output is not None and layer.site in ranges
        }
        self.weight_facts: dict[Site, WeightFacts] = {}
        self.unplanned: set[Site] = set()
        self.way = Way(plan.layers)
        self._prepared: dict[Site, tuple[tuple[Stamp, ...], Tensor, Tensor | None]] = {}

    def leaves_alone(self, site: Site) -> bool:
        """True where this lane computes the layer at a site as in float."""
        return self.layers[site].weight is None and site not in self.qparams

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        """What the target keeps of a layer's result; overwrites `result`."""
        qparams = self.qparams.get(layer.site)
        return result if qparams is None else fake_quantize_(result, qparams, *(layer.bounds or ()))

    def inputs(self, inputs: Inputs) -> Inputs:
        """The network's inputs as the target stores them; the user's own tensors stay as they are."""
        stored = iter(layer for layer in self.plan.layers if layer.is_input)

        def one(tensor: Tensor) -> Tensor:
            return self.store(next(stored), tensor.clone()) if tensor.is_floating_point() else tensor

        return inputs.map(one)

    def run(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of one operation in this lane's numbers. Raises ModelError where the forward leaves the plan."""
        layer = self.layers.get(site)
        if layer is None:
            if site not in self.plan.traced and kind_of(site.op) not in (Kind.OTHER, Kind.SAME_RANGE):
                self.unplanned.add(site)
            result = function(*args, **kwargs)
            self._keep_to_way(site, (args, kwargs), result)
            return result
        is_last = site == layer.sites[-1]
        if layer.is_weighted and site == layer.site:
            result = self._weighted(layer, site, function, args, kwargs)
        elif (layer.norm is not None and site in layer.norm.sites) or (is_last and self._bounds_merge(layer)):
            result = args[0] if args else kwargs["input"]
        else:
            result = function(*args, **kwargs)
        self._keep_to_way(site, (args, kwargs), result)
        if is_last:
            return self._stored(layer, result)
        self.way.leave(site, result)
        return result

    def _keep_to_way(self, site: Site, given: Any, result: Any) -> None:
        """Hold every operation to the plan, save for questions about a tensor, which the trace did not record."""
        if (self.way.open or site in self.way.inner) and tensors_in(result):
            self.way.enter(site, tensors_in(given))

    def _bounds_merge(self, layer: Layer) -> bool:
        """True where clamping to the format's ends does the work of the ReLU-like operation at the layer's end."""
        bends = layer.bounds == (-math.inf, math.inf)  # as LeakyReLU does
        return layer.bounds is not None and not bends and len(layer.sites) > 1 and layer.site in self.qparams

    def _stored(self, layer: Layer, result: Any) -> Any:
        tensor = next((tensor for tensor in tensors_in(result) if is_float(tensor)), None)
        if tensor is not None:
            self.store(layer, tensor)
        return result

    # Weights ------------------------------------------------------------------------------------------

    def _weighted(
        self, layer: Layer, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        arguments = bind(site.op, args, kwargs)
        weight, bias = arguments["weight"], arguments.get("bias")
        new_weight, new_bias = self._prepare(layer, weight, bias)
        args, kwargs = replace_arguments(site.op, args, kwargs, {"weight": new_weight, "bias": new_bias})
        return function(*args, **kwargs)

    def _prepare(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias as this lane multiplies with them; kept as long as the model's own do not change."""
        norm = self._norm_tensors(layer.norm) if layer.norm is not None else []
        stamp = tuple(stamp_of(tensor) for tensor in (weight, bias, *norm) if tensor is not None)
        known = self._prepared.get(layer.site)
        if known is not None and known[0] == stamp:
            return known[1], known[2]
        merged = output_first(weight.detach(), layer.is_transposed, layer.groups)
        if layer.norm is not None:
            mean, variance, gamma, beta = norm
            assert mean is not None, "a merged norm has running statistics"
            assert variance is not None, "a merged norm has running statistics"
            merged, bias = merge(merged, bias, NormState(mean, variance, gamma, beta, layer.norm.eps))
        quantized, bias = self._quantized(layer, merged, bias)
        prepared = input_first(quantized, layer.is_transposed, layer.groups)
        if self.channels_last and prepared.ndim == 4:
            prepared = prepared.contiguous(memory_format=torch.channels_last)
        if isinstance(weight, nn.Parameter):  # a weight computed in the forward is another tensor each time
            self._prepared[layer.site] = stamp, prepared, bias
        return prepared, bias

    def _quantized(self, layer: Layer, merged: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Merged weight and bias in the layer's formats; writes down what that did to the weight."""
        qparams, saturated, quantized = None, 0, merged
        if layer.weight is not None:
            axis = layer.weight.granularity.axis if isinstance(layer.weight.granularity, PerChannel) else None
            qparams = weight_qparams(layer.weight, merged, axis)
            quantized = fake_quantize(merged, qparams)
            if bias is not None and layer.sources and layer.sources[0] in self.qparams:
                step = self.qparams[layer.sources[0]].scale(bias) * qparams.scale(bias)
                bias, saturated = quantize_bias(bias.detach(), step, layer.accumulator_bits)
        rows, errors = merged.flatten(1), (quantized - merged).flatten(1)
        self.weight_facts[layer.site] = WeightFacts(
            rows.abs().amax(1), qparams, rows.square().sum(1), errors.square().sum(1), saturated
        )
        return quantized, bias

    def _norm_tensors(self, norm: MergedNorm) -> list[Tensor | None]:
        return [_tensor(self.model, name) for name in (norm.mean, norm.variance, norm.weight, norm.bias)]


def _tensor(model: nn.Module, name: str) -> Tensor | None:
    """A parameter or buffer by its dotted name; None for ""."""
    if not name:
        return None
    path, _, last = name.rpartition(".")
    tensor: Tensor = getattr(model.get_submodule(path), last)
    return tensor.detach()


def stamp_of(tensor: Tensor) -> Stamp:
    """Another one as soon as the tensor holds other values, also where they were written past autograd (`.data`)."""
    version = 0 if tensor.is_inference() else tensor._version  # inference tensors do not count
    values = tensor.detach()
    # The hash is an exclusive or of all values: unlike the sum, it misses that an even number of signs changed.
    bits = int(torch.hash_tensor(values).item()) if values.numel() else 0
    return values.data_ptr(), version, bits, float(values.sum())


class LaneRunner(Interceptor):
    """Runs a whole forward in one lane."""

    def __init__(self, lane: Lane):
        super().__init__(lane.model)
        self.lane = lane

    def forward(self, inputs: Inputs) -> Any:
        """The model's result on these inputs. Raises ModelError where the model raises, or leaves the plan."""
        self.restart()
        stored = self.lane.inputs(inputs)
        with self:
            result = forward(self.lane.model, stored, self)
        self.lane.way.end(tensor for _, tensor in named_leaves(result))
        return result

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.lane.run(site, function, args, kwargs)
