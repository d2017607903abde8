"""ONNX Runtime's QuantizeLinear / DequantizeLinear."""

from qdiag.numerics.rounding import Rounding
from qdiag.planning.targets.target import Target


class OnnxRuntime(Target):
    """Rounds half to even (ONNX operator specification, QuantizeLinear)."""

    name = "onnxruntime"
    rounding = Rounding.HALF_EVEN
