"""What ONNX Runtime makes of a file, tensor by tensor."""

import importlib.util
from collections.abc import Mapping

import numpy as np
import onnx
import torch
from torch import Tensor

from qdiag.loading.onnx_graph import OnnxGraph

CLOSE = 1e-4
"""Largest difference, as a part of the largest value of the tensor."""

ROUNDED = 1e-6
"""Differences that do not count: ONNX Runtime's sigmoid, for one, is rounded to 1e-7 of 1, however small it is."""


def is_installed() -> bool:
    """True where there is an ONNX Runtime to hold a file against."""
    return importlib.util.find_spec("onnxruntime") is not None


def every_tensor(graph: OnnxGraph, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor that the file's operators compute, by name.

    Raises whatever ONNX Runtime raises for a file that it cannot run.
    """
    import onnxruntime

    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    known = {value.name for value in proto.graph.output} | {""}
    computed = dict.fromkeys(name for node in proto.graph.node for name in node.output)
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    results = session.run(names, {name: tensor.numpy() for name, tensor in inputs.items()})
    return {
        name: torch.from_numpy(np.array(result))
        for name, result in zip(names, results, strict=True)
        if isinstance(result, (np.ndarray, np.generic))
    }


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a part of the largest value; infinite for other shapes or other places of NaN."""
    if ours.shape != theirs.shape:
        return float("inf")
    if ours.numel() == 0:
        return 0.0
    a, b = ours.double(), theirs.double()
    same = (a == b) | (a.isnan() & b.isnan())
    if bool(same.all()):
        return 0.0
    gap = torch.where(same, torch.zeros(()).double(), (a - b).abs())
    finite = b[b.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    found = max(float(gap.nan_to_num(nan=float("inf")).max()) - ROUNDED, 0.0)
    return found / largest if largest else float("inf") if found else 0.0
