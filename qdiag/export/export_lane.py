"""A lane that writes ONNX's operators in place of numbers, while `torch.export` records the user's forward."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx import ops

from qdiag.export.constants import Constant, LayerConstants
from qdiag.numerics.merge import input_first
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.lane import Lane
from qdiag.tracing.intercept import Function, is_float, tensors_in
from qdiag.tracing.operations import bind
from qdiag.tracing.site import Site

SITE = "qdiag.site"
"""The property of a node under which stands the address of the stored tensor that it makes."""


class ExportLane(Lane):
    """Lets each layer multiply by given constants; a subclass says in `store` how a stored tensor is written.

    tensors: holds the constants' values as buffers, by name, so that `torch.export` takes them for the file's own.
    Unlike other lanes, this one computes in the target's scale: channel shifts are in the constants already.
    """

    def __init__(
        self, model: nn.Module, plan: QuantPlan, calibration: Calibration, constants: Mapping[Site, LayerConstants]
    ):
        super().__init__(model, plan, calibration)
        self.constants = constants
        self.tensors = nn.Module()
        self.tensor_names: dict[str, str] = {}  # of the buffers: which layer's they are, and what of it
        for number, (site, found) in enumerate(constants.items()):
            self._hold(f"weight{number}", f"{site}.weight", found.weight)
            self._hold(f"bias{number}", f"{site}.bias", found.bias)
        self._numbers = {site: number for number, site in enumerate(constants)}

    def _hold(self, buffer: str, name: str, constant: Constant | None) -> None:
        if constant is not None:
            self.tensors.register_buffer(buffer, constant.values)
            self.tensor_names[buffer] = name

    def run(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _pools_all(site, args, kwargs):
            function = _global_average_pool  # one operator, which runtimes compute in integers
        return super().run(site, function, args, kwargs)

    def bounds(self, layer: Layer) -> tuple[float, float]:
        """Of the ReLU-like operation whose work `store` has to do; infinite where there is none."""
        return layer.bounds if layer.bounds is not None and self._bounds_merge(layer) else (-math.inf, math.inf)

    def _stored(self, layer: Layer, result: Any) -> Any:
        """Writes what is stored over the result, as a lane does: a forward may hold the tensor under another name."""
        tensor = next((tensor for tensor in tensors_in(result) if is_float(tensor)), None)
        if tensor is not None:
            tensor.copy_(self.store(layer, tensor))
        return result

    def _prepare(self, layer: Layer, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        found, number = self.constants[layer.site], self._numbers[layer.site]
        new_weight = self._read(f"weight{number}", found.weight)
        if isinstance(found.weight.exponent, Tensor):
            new_weight = input_first(new_weight, layer.is_transposed, layer.groups)
        return new_weight, None if found.bias is None else self._read(f"bias{number}", found.bias)

    def _read(self, buffer: str, constant: Constant) -> Tensor:
        values = self.tensors.get_buffer(buffer)
        return values if constant.exponent is None else dequantize(values, constant.exponent)


def quantize(x: Tensor, exponent: int, dtype: torch.dtype, site: str) -> Tensor:
    """QuantizeLinear with zero point 0: integers of the same shape."""
    inputs = x, torch.tensor(2.0**exponent), torch.tensor(0, dtype=dtype)
    return ops.symbolic("QuantizeLinear", inputs, dtype=dtype, shape=x.shape, metadata_props={SITE: site})


def dequantize(integers: Tensor, exponent: int | Tensor) -> Tensor:
    """DequantizeLinear with zero point 0. exponent: one number, or one for each index [C] of the first axis."""
    scale = torch.exp2(torch.as_tensor(exponent, dtype=torch.float32))
    inputs = integers, scale, torch.zeros_like(scale, dtype=integers.dtype)
    attributes: dict[str, Any] = {"axis": 0} if scale.ndim else {}
    return ops.symbolic("DequantizeLinear", inputs, attributes, dtype=torch.float32, shape=integers.shape)


def clip(x: Tensor, low: float, high: float, site: str = "") -> Tensor:
    """Clip to scalar bounds; an infinite one is left out."""
    bounds = [torch.tensor(end) if math.isfinite(end) else None for end in (low, high)]
    return ops.symbolic("Clip", (x, *bounds), dtype=x.dtype, shape=x.shape, metadata_props={SITE: site} if site else {})


def _pools_all(site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True for an average over the whole image that keeps the two axes."""
    if site.op != "adaptive_avg_pool2d":
        return False
    arguments = bind(site.op, args, kwargs)
    return arguments["input"].ndim == 4 and arguments.get("output_size", arguments.get("arg1")) in (1, (1, 1), [1, 1])


def _global_average_pool(input: Tensor, output_size: Any) -> Tensor:
    shape = (*input.shape[:2], 1, 1)
    return ops.symbolic("GlobalAveragePool", (input,), dtype=input.dtype, shape=shape)
