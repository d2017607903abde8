"""What can be written as an ONNX file, and in which opset: found out before any long work."""

from pathlib import Path

from qdiag.errors import ModelError, OptionError
from qdiag.export.lower_opset import LOWEST
from qdiag.export.styles import STYLES
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.trace import Trace

OPSET = 18
"""Where no more is needed: the first that torch's exporter writes, and what embedded importers read."""

OPSET_AXIS = 13
"""The first whose DequantizeLinear takes a scale for each channel."""

OPSET_16_BIT = 21
"""The first whose QuantizeLinear gives 16-bit integers."""


def check_request(quantized: QuantizedModel, path: Path, style: str) -> None:
    """Raises OptionError for a style or a path that cannot be had, ModelError for a model that no file can hold."""
    if style not in STYLES:
        raise OptionError(f"style={style!r}: it is {' or '.join(map(repr, STYLES))}.", code="option-value")
    if not path.parent.is_dir():
        raise OptionError(
            f"cannot write {path}: there is no folder {path.parent}. Give a file in one that exists.",
            code="cannot-write",
        )
    if path.exists() and not path.is_file():
        raise OptionError(
            f"cannot write {path}: it is no file. Give the name of one, in a folder that exists.", code="cannot-write"
        )
    _check_weights(quantized.plan)


def _check_weights(plan: QuantPlan) -> None:
    """What a file holds is the same for all images."""
    trace = plan.trace
    computed = _of_inputs(trace)
    for layer in plan.layers:
        weight = trace[layer.site].tensor("weight") if layer.is_weighted else None
        if weight is not None and weight.number in computed:
            raise ModelError(
                f"the weight of {str(layer.site)!r} is computed from the network's inputs, and a file holds weights "
                "that are the same for all images. Export the network up to there, and the rest as another.",
                code="weight-computed",
            )


def _of_inputs(trace: Trace) -> set[int]:
    """The numbers of the values that follow from the network's inputs."""
    found = {value.number for value in trace.inputs}
    for call in trace.calls:
        if any(value.number in found for value in call.inputs):
            found.update(value.number for value in call.outputs)
    return found


def chosen_opset(plan: QuantPlan, style: str, opset: int | None) -> int:
    """The opset asked for, or else the one that the formats need. Raises OptionError for one that cannot be had."""
    is_wide = any(bits == 16 for _, bits in _bits(plan))
    if opset is None:
        opset = OPSET_16_BIT if style == "qdq" and is_wide else OPSET
    _check_exists(opset)
    if style == "qdq":
        _check_formats(plan, opset)
    return opset


def _check_exists(opset: int) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not LOWEST <= opset <= newest:
        raise OptionError(f"opset={opset}: files are written from {LOWEST} to {newest}.", code="opset")


def _check_formats(plan: QuantPlan, opset: int) -> None:
    """Whether files of integers have them."""
    if opset < OPSET_AXIS and any(layer.weight and layer.weight.axis is not None for layer in plan.layers):
        raise OptionError(
            f"opset={opset} has one scale for a tensor: scales for each channel came with opset {OPSET_AXIS}.",
            code="opset",
        )
    for site, bits in _bits(plan):
        if bits not in (8, 16):
            raise OptionError(
                f"{site!r} has {bits} bits, and a file of integers 8 or 16. Use style='clips'.", code="bits-unsupported"
            )
        if bits == 16 and opset < OPSET_16_BIT:
            raise OptionError(
                f"opset={opset} has no 16-bit QuantizeLinear: that came with opset {OPSET_16_BIT}.", code="opset"
            )


def _bits(plan: QuantPlan) -> list[tuple[str, int]]:
    """The bits of every format, with the layer's address."""
    return [
        (str(layer.site), scheme.bits) for layer in plan.layers for scheme in (layer.output, layer.weight) if scheme
    ]
