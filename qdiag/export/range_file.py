"""The ranges of every layer, as a file that TIDL takes them from."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdiag.export.constants import Constant
from qdiag.numerics.qparams import QParams
from qdiag.numerics.qtype import QType


@dataclass(frozen=True)
class TargetLayer:
    """A tensor that the target stores, and what it multiplies by and adds on the way there.

    name: of the tensor in the ONNX file. kind: the target's word for the layer, "" where it is not known. site: the
    address of the stored tensor whose format this one has; the same for several layers where some of them only move
    values.
    """

    name: str
    kind: str
    site: str
    output: QParams
    weight: QParams | None = None
    bias: Constant | None = None


def range_text(layers: Sequence[TargetLayer]) -> str:
    """The file, as protobuf text (TexasInstruments/edgeai-tidl-tools, docs/tidl_quantParams.md).

    Layers whose kind is not known are left out: the target finds a layer by name and kind.

    A tensor's min and max decide: its range is the least power of two that holds them, and it is signed where min is
    negative. They are the ends of the format here, the lower one as far from zero as the upper: a power of two itself
    would depend on how an importer's logarithm rounds. Bias values are whole multiples of the accumulator's unit.
    bit_depth is in bytes, as in the document's example.
    """
    layers = [layer for layer in layers if layer.kind]
    per_channel = any(layer.weight is not None and layer.weight.axis is not None for layer in layers)
    lines = [
        f"num_layers: {len(layers)}",
        "quant_type: SYMMETRIC",
        f"calib_type: {'PERCHANNEL' if per_channel else 'PERTENSOR'}",
    ]
    for layer in layers:
        lines += ["layers {", *_indented(_layer(layer)), "}"]
    return "\n".join(lines) + "\n"


def ends(qparams: QParams) -> tuple[float, float]:
    """(min, max) that give the format back; for one with a scale for each channel those of the widest."""
    high = qparams.qtype.qmax * max(qparams.scales)
    return (-high if qparams.qtype.signed else 0.0), high


def _layer(layer: TargetLayer) -> Iterator[str]:
    yield f"layer_name: {json.dumps(layer.name, ensure_ascii=False)}"
    yield f"layer_type: {json.dumps(layer.kind)}"
    yield f"bit_depth: {layer.output.qtype.bits // 8}"
    yield from _block("outputs", _tensor(layer.output))
    if layer.weight is not None:
        yield from _block("weights", _tensor(layer.weight))
    if layer.bias is not None:
        yield from _block("bias", _bias(layer.bias))


def _tensor(qparams: QParams) -> Iterator[str]:
    low, high = ends(qparams)
    yield f"min: {low!r}"
    yield f"max: {high!r}"
    yield f"size: {len(qparams.scales)}"
    yield f"element_type: {_element_type(qparams.qtype)}"
    yield from (f"scale: {1 / scale!r}" for scale in qparams.scales)  # integers to the unit
    yield from ("zero_point: 0" for _ in qparams.scales)


def _bias(bias: Constant) -> Iterator[str]:
    values = (bias.values.double() * (1.0 if bias.scale is None else bias.scale)).tolist()
    yield f"min: {min(values)!r}"
    yield f"max: {max(values)!r}"
    yield f"size: {len(values)}"
    yield from (f"value: {value!r}" for value in values)


def _element_type(qtype: QType) -> int:
    """0 and 1: unsigned and signed, 8 bits; 2 and 3: the same, 16 bits."""
    return 2 * (qtype.bits > 8) + qtype.signed


def _block(name: str, lines: Iterator[str]) -> list[str]:
    return [f"{name} {{", *_indented(lines), "}"]


def _indented(lines: Iterator[str]) -> list[str]:
    return [f"  {line}" for line in lines]
