"""ONNX's operators, for `torch.export` to record in place of numbers."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.onnx import ops

from qdiag.quantization.operation import Operation

SITE = "qdiag.site"
"""The property of a node under which stands the address of the stored tensor that it makes."""


def quantize(x: Tensor, scale: float, dtype: torch.dtype, site: str) -> Tensor:
    """QuantizeLinear with zero point 0: integers of the same shape."""
    inputs = x, torch.tensor(scale), torch.tensor(0, dtype=dtype)
    return ops.symbolic("QuantizeLinear", inputs, dtype=dtype, shape=x.shape, metadata_props={SITE: site})


def dequantize(integers: Tensor, scale: Tensor) -> Tensor:
    """DequantizeLinear with zero point 0. scale: one number [], or one for each index [C] of the first axis."""
    inputs = integers, scale, torch.zeros_like(scale, dtype=integers.dtype)
    attributes: dict[str, Any] = {"axis": 0} if scale.ndim else {}
    return ops.symbolic("DequantizeLinear", inputs, attributes, dtype=torch.float32, shape=integers.shape)


def clip(x: Tensor, low: float, high: float, site: str = "") -> Tensor:
    """Clip to scalar bounds; an infinite one is left out."""
    bounds = [torch.tensor(end) if math.isfinite(end) else None for end in (low, high)]
    return ops.symbolic("Clip", (x, *bounds), dtype=x.dtype, shape=x.shape, metadata_props={SITE: site} if site else {})


def in_one_operator(operation: Operation) -> Operation:
    """An average over the whole image as one operator, which runtimes compute in integers; others as they are."""
    if operation.site.op != "adaptive_avg_pool2d":
        return operation
    arguments = operation.arguments
    size = arguments.get("output_size", arguments.get("arg1"))
    if arguments["input"].ndim != 4 or size not in (1, (1, 1), [1, 1]):
        return operation
    return replace(operation, function=_global_average_pool)


def _global_average_pool(input: Tensor, output_size: Any) -> Tensor:
    shape = (*input.shape[:2], 1, 1)
    return ops.symbolic("GlobalAveragePool", (input,), dtype=input.dtype, shape=shape)
