"""What ONNX Runtime makes of a file, tensor by tensor."""

from collections.abc import Mapping

import numpy as np
import onnx
import torch
from torch import Tensor

from qdiag.loading.onnx_graph import OnnxGraph
from qdiag.loading.plain_runtime import plain_session

CLOSE = 1e-4
"""Largest difference, as a part of the largest value of the tensor."""

ROUNDED = 1e-6
"""Differences that do not count: ONNX Runtime's sigmoid, for one, is rounded to 1e-7 of 1, however small it is."""


def every_tensor(graph: OnnxGraph, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor that the file's operators compute, by name.

    Raises whatever ONNX Runtime raises for a file that it cannot run.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    known = {value.name for value in proto.graph.output} | {""}
    computed = dict.fromkeys(name for node in proto.graph.node for name in node.output)
    for node in proto.graph.node:
        node.ClearField("name")  # ONNX Runtime refuses two of the same
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed if name not in known)
    session = plain_session(proto.SerializeToString())
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
