"""All operators, by ONNX's names."""

from qdiag.loading.conversion import Converter
from qdiag.loading.operators import activation, arithmetic, convolution, normalization, pooling, resize, shape

OPERATORS: dict[str, Converter] = {
    **activation.OPERATORS,
    **arithmetic.OPERATORS,
    **convolution.OPERATORS,
    **normalization.OPERATORS,
    **pooling.OPERATORS,
    **resize.OPERATORS,
    **shape.OPERATORS,
}
