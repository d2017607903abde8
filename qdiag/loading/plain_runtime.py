"""ONNX Runtime as a reference: every operator as the file has it, none fused or folded."""

import importlib.util
from typing import TYPE_CHECKING

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
