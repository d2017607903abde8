"""ONNX Runtime as a reference: every operator as the file has it, none fused or folded."""

import importlib.util
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    import onnxruntime


def is_installed() -> bool:
    """True where there is an ONNX Runtime to hold a file against."""
    return importlib.util.find_spec("onnxruntime") is not None


def plain_session(file: str | bytes) -> "onnxruntime.InferenceSession":
    """A session that runs a file, by its path or its bytes, operator by operator, and logs nothing.

    Raises whatever ONNX Runtime raises for a file that it cannot run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def plain_outputs(file: str | bytes, inputs: Iterable[Tensor]) -> list[Any]:
    """Every output of a file for these inputs, in the file's order; what is left of the inputs is not read.

    Raises whatever ONNX Runtime raises for a file that it cannot run, and for inputs that it does not take.
    """
    session = plain_session(file)
    names = [value.name for value in session.get_inputs()]
    found: list[Any] = session.run(None, {n: t.numpy(force=True) for n, t in zip(names, inputs, strict=False)})
    return found
