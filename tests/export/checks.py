"""What holds of every exported file, and independent references for it."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from qdiag.export.export_onnx import export_onnx
from qdiag.export.verification import Verification
from qdiag.planning.layer import Layer
from qdiag.quantization.float_numerics import FloatNumerics
from qdiag.quantization.formats import Formats
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.operation import Operation
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs, named_leaves


def check_integers(verification: Verification) -> None:
    """All equal, save for ties that a floating-point sum may bring to the other side on another processor."""
    assert verification.values > 0
    assert verification.off_by_more == 0
    assert verification.off_by_one <= 1e-3 * verification.values
    assert verification.output_equal >= (1 - 1e-3) * verification.output_values
    assert verification.watching_changes == 0
    assert verification.exit_code == 0


def check_clips(quantized: QuantizedModel, inputs: Inputs, folder: Path) -> onnx.ModelProto:
    """Export in style "clips": a valid file of a float network that computes what clamped floats give."""
    exported = export_onnx(quantized, folder / "model.onnx", inputs, style="clips")
    onnx.checker.check_model(exported.path, full_check=True)
    check_floats(exported.path, quantized, inputs)
    return onnx.load(exported.path)


def check_floats(path: Path, quantized: QuantizedModel, inputs: Inputs) -> None:
    """As the same network gives in double precision: two orders of floating-point sums would differ by both errors."""
    found, expected = run_file(path, inputs), clamped(quantized, inputs)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


def run_file(path: Path, inputs: Inputs) -> list[Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, {n: t.numpy() for n, (_, t) in zip(names, inputs.tensors(), strict=True)})


def clamped(quantized: QuantizedModel, inputs: Inputs) -> list[Any]:
    """The model's outputs with float weights and every stored tensor clamped to a power of two, in double precision."""
    double = copy.deepcopy(quantized.module).double()
    formats = quantized.formats
    interpreter = Interpreter(
        double, formats.plan, Clamping(formats), given=quantized.calibration.weights, rewrite=_in_double
    )
    with borrow(double):
        result = InterpreterRun(interpreter).forward(inputs.map(_double))
    return [tensor.numpy() for _, tensor in named_leaves(result)]


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _in_double(operation: Operation) -> Operation:
    """Modules that the model keeps where torch does not see them stay in float."""
    args, kwargs = tree_map_only(Tensor, _double, (operation.args, operation.kwargs))
    return replace(operation, args=args, kwargs=kwargs)


@final
class Clamping(Numerics):
    """Float weights, and every stored tensor clamped to a power of two."""

    def __init__(self, formats: Formats) -> None:
        self.formats, self.weights = formats, FloatNumerics()

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        return self.weights.weight(layer, own)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        qparams = self.formats.qparams[layer.site]
        power = 2.0 ** math.ceil(math.log2(qparams.high))  # high is one step below it
        low, high = layer.bounds or (-math.inf, math.inf)
        factor = self.formats.factor(layer, result)
        scale = torch.ones(()) if factor is None else factor
        return (
            result.mul_(scale).clamp_(max(low, -power if qparams.qtype.signed else 0.0), min(high, power)).div_(scale)
        )
