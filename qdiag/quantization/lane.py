"""One numeric version of a forward: the operations of the user's model, carried out as a plan says."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from qdiag.contents import contents_of
from qdiag.errors import ModelError
from qdiag.numerics.bias import quantize_bias
from qdiag.numerics.channels import by_channel, shift_factor
from qdiag.numerics.fake_quantize import fake_quantize, fake_quantize_
from qdiag.numerics.merge import NormState, input_first, merge, output_first
from qdiag.numerics.qparams import QParams, activation_qparams, weight_qparams
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration, LayerWeights
from qdiag.quantization.way import Way
from qdiag.tracing.inputs import Inputs, forward, named_leaves
from qdiag.tracing.intercept import Function, Interceptor, is_float, tensors_in
from qdiag.tracing.norms import MergedNorm
from qdiag.tracing.operations import OperationKind, bind, kind_of, replace_arguments
from qdiag.tracing.site import Site
from qdiag.tracing.tensors import named_tensor

Stamp = tuple[int, int, str]


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

    calibration: ranges of every stored tensor that the plan gives a format, and more. channels_last: hold 4-D weights
    in that layout. Tensors keep the user's own scale: a channel that the target stores multiplied by a power of two is
    rounded as such, and divided again, which is exact.
    unplanned: layers that ran though no trace had seen them, and so ran in float.
    """

    def __init__(
        self, model: nn.Module, plan: QuantPlan, calibration: Calibration | None = None, *, channels_last: bool = False
    ):
        self.model, self.plan, self.channels_last = model, plan, channels_last
        self.calibration = calibration = calibration or Calibration({})
        self.layers = plan.by_site
        self.qparams = {
            layer.site: activation_qparams(layer.output, calibration.ranges[layer.site])
            for layer in plan.layers
            if layer.output is not None and layer.site in calibration.ranges
        }
        self.weight_facts: dict[Site, WeightFacts] = {}
        self.unplanned: set[Site] = set()
        self.way = Way(plan.layers)
        self._prepared: dict[Site, tuple[tuple[Stamp, ...], Tensor, Tensor | None]] = {}

    def leaves_alone(self, site: Site) -> bool:
        """True where this lane computes the layer at a site as in float."""
        return self.layers[site].weight is None and site not in self.qparams

    def store(self, layer: Layer, result: Tensor) -> Tensor:
        """What the target keeps of a layer's result, which may be overwritten."""
        qparams, factor = self.qparams.get(layer.site), self.factor(layer, result)
        if qparams is None:
            return result
        if factor is None:
            return fake_quantize_(result, qparams, layer.bounds)
        return fake_quantize_(result.mul_(factor), qparams, layer.bounds).div_(factor)

    def factor(self, layer: Layer, like: Tensor) -> Tensor | None:
        """What the target multiplies each channel of a stored tensor by, to broadcast against it; None for nothing."""
        shift = self.calibration.shifts.get(layer.site)
        return None if shift is None else by_channel(shift_factor(shift, like), like, 1)

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
            if site not in self.plan.traced and kind_of(site.op) not in (OperationKind.OTHER, OperationKind.SAME_RANGE):
                self.unplanned.add(site)
            result = function(*args, **kwargs)
            self._keep_to_way(site, (args, kwargs), result)
            return result
        is_last = site == layer.sites[-1]
        if layer.is_weighted and site == layer.site:
            result = self._weighted(layer, site, function, args, kwargs)
        elif self._merges_norm(layer, site) or (is_last and self._bounds_merge(layer)):
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

    def _merges_norm(self, layer: Layer, site: Site) -> bool:
        """True where an operation belongs to a BatchNorm whose work the convolution has done."""
        return layer.norm is not None and site in layer.norm.sites

    def _bounds_merge(self, layer: Layer) -> bool:
        """True where clamping to the format's ends does the work of the ReLU-like operation at the layer's end."""
        bends = layer.bounds == (-math.inf, math.inf)  # as LeakyReLU does
        return layer.bounds is not None and not bends and len(layer.sites) > 1 and self._rounds(layer)

    def _rounds(self, layer: Layer) -> bool:
        """True where this lane rounds what the layer stores."""
        return layer.site in self.qparams

    def _stored(self, layer: Layer, result: Any) -> Any:
        tensor = next((tensor for tensor in tensors_in(result) if is_float(tensor)), None)
        if tensor is None:
            return result
        stored = self.store(layer, tensor)
        if stored is tensor:
            return result
        return tree_map_only(Tensor, lambda leaf: stored if leaf is tensor else leaf, result)

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
        merged = self._given(layer, stamp) or self._merged(layer, weight, bias, norm)
        quantized, bias = self._quantized(layer, *merged)
        prepared = input_first(quantized, layer.is_transposed, layer.groups)
        if self.channels_last and prepared.ndim == 4:
            prepared = prepared.contiguous(memory_format=torch.channels_last)
        if isinstance(weight, nn.Parameter):  # a weight computed in the forward is another tensor each time
            self._prepared[layer.site] = stamp, prepared, bias
        return prepared, bias

    def _given(self, layer: Layer, stamp: tuple[Stamp, ...]) -> tuple[Tensor, Tensor | None] | None:
        """What calibration put in place of the model's own. Raises ModelError where the model's own are others now."""
        given = self.calibration.weights.get(layer.site)
        if given is None:
            return None
        if given.made_from != tuple(contents for _, _, contents in stamp):
            raise ModelError(
                f"{str(layer.site)!r} has other weights now than when it was calibrated, and calibration changed them. "
                "Load weights before calibrating, or calibrate again."
            )
        return given.weight, given.bias

    def _merged(
        self, layer: Layer, weight: Tensor, bias: Tensor | None, norm: list[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """The model's own weight, output channels first, and bias, with BatchNorm merged into them."""
        merged = output_first(weight.detach(), layer.is_transposed, layer.groups)
        if layer.norm is None:
            return merged, None if bias is None else bias.detach()
        mean, variance, gamma, beta = norm
        assert mean is not None, "a merged norm has running statistics"
        assert variance is not None, "a merged norm has running statistics"
        return merge(merged, bias, NormState(mean, variance, gamma, beta, layer.norm.eps))

    def _quantized(self, layer: Layer, merged: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Merged weight and bias in the layer's formats; writes down what that did to the weight."""
        qparams, saturated, quantized = None, 0, merged
        factor = self.weight_factor(layer, merged)
        scaled = merged * factor
        if layer.weight is not None:
            qparams = weight_qparams(layer.weight, scaled, self.weight_top(layer))
            quantized = fake_quantize(scaled, qparams) / factor
            if bias is not None and layer.sources and layer.sources[0] in self.qparams:
                step = self.qparams[layer.sources[0]].scale(bias) * qparams.scale(bias)
                shift = self.calibration.shifts.get(layer.site)
                own = torch.ones_like(bias) if shift is None else shift_factor(shift, bias)
                bias, saturated = quantize_bias(bias * own, step, layer.accumulator_bits)
                bias = bias / own
        rows, errors = scaled.flatten(1), (quantized - merged).mul_(factor).flatten(1)
        self.weight_facts[layer.site] = WeightFacts(
            rows.abs().amax(1), qparams, rows.square().sum(1), errors.square().sum(1), saturated
        )
        return quantized, bias

    def facts(self, layer: Layer) -> WeightFacts | None:
        """What becomes of a layer's weight; None where it has none, or the model computes it in its forward."""
        if layer.is_weighted and layer.site not in self.weight_facts:
            own = self.weights(layer)
            if own is not None:
                self._quantized(layer, own.weight, own.bias)
        return self.weight_facts.get(layer.site)

    def rounded_weight(self, layer: Layer) -> Tensor | None:
        """A layer's weight as this lane multiplies with it, output channels first; None as in `weights`."""
        own = self.weights(layer)
        return None if own is None else self._quantized(layer, own.weight, own.bias)[0]

    def weight_tops(self) -> dict[Site, Tensor]:
        """The ends of weights' formats, as powers of two; not of weights that the model computes in its forward."""
        tops = {}
        for layer in self.plan.layers:
            facts = self.facts(layer)
            if facts is not None and facts.qparams is not None:
                tops[layer.site] = torch.as_tensor(facts.qparams.clip_exponent)
        return tops

    def weight_top(self, layer: Layer) -> Tensor | None:
        """The end of a weight's format that calibration keeps, if it is for one scale or many as the layer's is."""
        top = self.calibration.tops.get(layer.site)
        has_channels = layer.weight is not None and layer.weight.axis is not None
        return top if top is not None and bool(top.ndim) == has_channels else None

    def weight_factor(self, layer: Layer, weight: Tensor) -> Tensor:
        """What the target multiplies a weight [C, C_in/groups, ...] by, for the shifts of its inputs and outputs."""
        shifts, factor = self.calibration.shifts, torch.ones_like(weight[:1, :1])
        before = shifts.get(layer.sources[0]) if layer.sources else None
        if layer.site in shifts:
            factor = factor * by_channel(shift_factor(shifts[layer.site], weight), weight, 0)
        if before is not None:
            by_group = before.reshape(layer.groups, 1, -1).expand(-1, len(weight) // layer.groups, -1).flatten(0, 1)
            factor = factor / by_channel(shift_factor(by_group, weight), weight, 1)
        return factor

    def weights(self, layer: Layer) -> LayerWeights | None:
        """A layer's weight and bias before rounding; None where the model computes them in its forward."""
        call = self.plan.trace[layer.site]
        found = [call.tensor("weight"), call.tensor("bias")]
        if any(value is not None and value.kind != "parameter" for value in found):
            return None
        weight, bias = (_detached(self.model, "" if value is None else value.name) for value in found)
        if weight is None:
            return None
        norm = self._norm_tensors(layer.norm) if layer.norm is not None else []
        stamp = tuple(stamp_of(tensor) for tensor in (weight, bias, *norm) if tensor is not None)
        merged, bias = self._given(layer, stamp) or self._merged(layer, weight, bias, norm)
        return LayerWeights(merged, bias, tuple(contents for _, _, contents in stamp))

    def _norm_tensors(self, norm: MergedNorm) -> list[Tensor | None]:
        return [_detached(self.model, name) for name in (norm.mean, norm.variance, norm.weight, norm.bias)]


def _detached(model: nn.Module, name: str) -> Tensor | None:
    tensor = named_tensor(model, name)
    return None if tensor is None else tensor.detach()


def stamp_of(tensor: Tensor) -> Stamp:
    """Another one as soon as the tensor holds other values, also where they were written past autograd (`.data`)."""
    version = 0 if tensor.is_inference() else tensor._version  # inference tensors do not count
    return tensor.data_ptr(), version, contents_of(tensor)


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
