"""How the ONNX file that a network came from gets the weights that calibration made of its own; needs onnx."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.export.constants import LayerConstants, layer_constants
from qdiag.export.file_weights import FileWeights, Written
from qdiag.export.recording import fewest_images
from qdiag.export.repaired_file import ChangedTensor, RepairedFile
from qdiag.export.styles import ClipNumerics
from qdiag.files import writing
from qdiag.loading.file_seal import seal
from qdiag.loading.onnx_graph import read_proto
from qdiag.loading.origin import Origin
from qdiag.loading.plain_runtime import plain_outputs
from qdiag.planning.layer import Layer
from qdiag.quantization.float_numerics import FloatNumerics
from qdiag.quantization.formats import Formats
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs, named_leaves

CLOSE = 1e-4
"""Of the largest output: what the file may differ by from the repaired model."""

RANGES_ALONE = ("range-search",)
"""Techniques that change no weight."""


def repaired(quantized: QuantizedModel, target: Path, data: Any) -> RepairedFile:
    """What `repair_file` does."""
    origin = _origin(quantized)
    inputs = fewest_images(quantized, data)
    file = FileWeights(read_proto(origin.file), origin.file.name)
    _check_float(file)
    with borrow(quantized.module):
        constants = layer_constants(quantized, ClipNumerics.weight_formats(quantized.formats.plan), inputs)
        expected = InterpreterRun(_repaired(quantized)).forward(inputs)
    layers = [layer for layer in quantized.plan.layers if layer.is_weighted and layer.site in constants]
    changes = tuple(
        _changed(layer, written, _why(quantized, layer))
        for layer in layers
        for written in _write(file, origin, layer, constants[layer.site])
    )
    with writing(target, "Give a file in a folder that exists.") as draft:
        seal(file.proto)
        draft.write_bytes(file.proto.SerializeToString())
        difference = _difference(draft, inputs, [tensor for _, tensor in named_leaves(expected)])
    return RepairedFile(target, origin.file, changes, difference)


def _origin(quantized: QuantizedModel) -> Origin:
    origin = Origin.of(quantized.module)
    if origin is None:
        raise ModelError(
            "this model was not loaded from an ONNX file, so that there is none to write back to. Load it with "
            "load_model('model.onnx'), or write a new file: export_onnx(quantized, path, style='clips').",
            code="no-origin",
        )
    return origin


def _check_float(file: FileWeights) -> None:
    for node in file.proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            raise ModelError(
                f"{file.file} is quantized already: {node.op_type} {node.output[0]!r}. Repair the float file that it "
                "was made from.",
                code="file-quantized",
            )


def _write(file: FileWeights, origin: Origin, layer: Layer, constants: LayerConstants) -> Iterator[Written]:
    node = origin.nodes.get(layer.site.path)
    norms = [origin.nodes.get(site.path) for site in layer.norm.sites] if layer.norm else []
    if node is None or None in norms:
        raise ModelError(
            f"{str(layer.site)!r} is no one node of {origin.file.name}, so that its weight cannot be written there. "
            "Write a new file: export_onnx(quantized, path, style='clips').",
            code="no-origin",
        )
    bias = None if constants.bias is None else constants.bias.values.float()
    yield from file.write(layer, node, norms[0] if norms else None, constants.weight.values.float().cpu(), bias)


def _changed(layer: Layer, written: Written, why: str) -> ChangedTensor:
    before, after = written.before, written.after
    old = None if before is None else before.reshape(-1).expand(after.numel()).reshape(after.shape)
    largest = float((after if old is None else after.cpu() - old).abs().max())
    part = None if before is None or not before.any() else 100 * largest / float(before.abs().max())
    return ChangedTensor(
        name=written.name,
        shape=tuple(after.shape),
        largest_change=largest,
        largest_change_percent=part,
        layer=str(layer.site),
        role=written.role,
        is_new=before is None,
        why=why,
    )


def _why(quantized: QuantizedModel, layer: Layer) -> str:
    """The techniques that had a hand in a layer's weights."""
    calibration, shifts = quantized.calibration, quantized.calibration.shifts
    kept = [applied.name for applied in calibration.history if applied.kept and applied.name not in RANGES_ALONE]
    around = [site for site in (layer.site, *layer.sources[:1]) if site in shifts and bool(shifts[site].any())]
    found = ["equalization"] if around else []
    if layer.site in calibration.weights:
        found += [name for name in kept if name != "equalization"] or ["weights of its own"]
    return ", ".join(dict.fromkeys(found)) or "changed in the module since it was loaded"


def _repaired(quantized: QuantizedModel) -> Interpreter:
    """The float network with calibration's weights, channels multiplied as the target stores them."""
    formats = quantized.formats
    return Interpreter(quantized.module, formats.plan, RepairedNumerics(formats), given=quantized.calibration.weights)


@final
class RepairedNumerics(Numerics):
    """Nothing is rounded; a ReLU6 bounds what the target stores, which is its channels multiplied."""

    def __init__(self, formats: Formats):
        self.formats, self.float = formats, FloatNumerics()

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        return self.float.weight(layer, own)

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        factor = self.formats.factor(layer, result)
        if factor is None or not layer.fuses_bounds:
            return self.float.stored(layer, result)
        return self.float.stored(layer, result.mul_(factor)).div_(factor)


def _difference(draft: Path, inputs: Inputs, expected: list[Tensor]) -> float:
    """Between the file's outputs and these, as a part of the largest. Raises ModelError for a file that is off."""
    try:
        found = plain_outputs(str(draft), (tensor for _, tensor in inputs.tensors()))
    except Exception as error:  # the runtime's own errors have no common class
        raise _unsound(f"ONNX Runtime says: {error}") from error
    largest = 0.0
    for ours, theirs in zip((tensor.numpy(force=True) for tensor in expected), found, strict=True):
        largest = max(largest, float(np.abs(ours - theirs).max(initial=0)) / (float(np.abs(ours).max(initial=0)) or 1))
    if not largest <= CLOSE:
        raise _unsound(f"its outputs differ by {largest:.1e} of the largest")
    return largest


def _unsound(why: str) -> ModelError:
    return ModelError(
        f"the repaired file does not compute what the repaired model does: {why}. Nothing was put in its place. "
        "Tell us about this network, or write a new file: export_onnx(quantized, path, style='clips').",
        code="file-unsound",
    )
