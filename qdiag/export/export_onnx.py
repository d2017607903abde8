"""`export_onnx()`: a quantized model as an ONNX file."""

import json
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from qdiag.errors import InputError, ModelError, OptionError, QdiagWarning
from qdiag.export.constant_tensors import ConstantTensors
from qdiag.export.constants import layer_constants
from qdiag.export.exported_model import ExportedModel
from qdiag.export.file_check import FileCheck
from qdiag.export.installed import check_installed
from qdiag.export.lower_opset import LOWEST, ir_version, lower_opset
from qdiag.export.naming import drop_remarks, name_batch, name_tensors
from qdiag.export.network import Network
from qdiag.export.operators import in_one_operator
from qdiag.export.styles import STYLES
from qdiag.files import written_whole
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.batches import first_inputs
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.trace import Trace

Style = Literal["qdq", "clips"]

OPSET = 18
"""Where no more is needed: the first that torch's exporter writes, and what embedded importers read."""

LARGEST = 1536 * 2**20
"""Bytes of weights beyond which torch splits a file in two."""

OPSET_AXIS = 13
"""The first whose DequantizeLinear takes a scale for each channel."""

OPSET_16_BIT = 21
"""The first whose QuantizeLinear gives 16-bit integers."""


def export_onnx(
    quantized: QuantizedModel | QuantBaseModule,
    path: str | os.PathLike[str],
    data: Any = None,
    *,
    style: Style = "qdq",
    opset: int | None = None,
    dynamic_batch: bool = True,
) -> ExportedModel:
    """Write a quantized model as an ONNX file, BatchNorm merged and calibration's changes to the weights in it.

    Rounding is ONNX's, half to even; `verify` shows what that makes of a plan that rounds half up. The file is checked
    before it takes its place: by onnx's own checker and, where that is installed, in ONNX Runtime. The model is left as
    it was.

    Args:
        quantized: From `calibrate`, or one of the modules that hold such a model.
        path: The file.
        data: What the model is called with (see `trace`), or a DataLoader or Dataset, whose first batch counts; random
            numbers of the traced shapes if not given.
        style: "qdq" holds integers: QuantizeLinear and DequantizeLinear at every stored tensor, weights and biases as
            initializers of whole numbers, all with powers of two as scales and 0 as zero point, so that a runtime
            computes in integers. "clips" is a float network with a Clip at every stored tensor, for importers that
            quantize by themselves.
        opset: 11 or higher; 18, or 21 for 16-bit integers, if not given. The IR version is the first that has it.
        dynamic_batch: Let the file take any number of images; where the forward fixes that number, a warning says so.

    Raises:
        OptionError: For a style, an opset or a path that cannot be had.
        InputError: For data that the model does not take.
        ModelError: For a model that no file can hold.

    >>> import tempfile
    >>> from torch import nn
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> quantized = calibrate(net, torch.rand(16, 3, 6, 6), "simple")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(quantized, Path(folder) / "model.onnx").names
    {':input': ':input uint8', '0': '0 uint8'}
    """
    quantized = quantized_model(quantized)
    target = Path(path)
    check_installed("onnx", "onnxscript")
    _check(quantized, target, style)
    opset = opset or (OPSET_16_BIT if style == "qdq" and _has_16_bits(quantized.plan) else OPSET)
    _check_opset(quantized, style, opset)
    inputs = recorded_inputs(quantized, data, dynamic_batch)
    with borrow(quantized.module), warnings.catch_warnings():
        # Attributes that a forward sets are put back by `borrow`.
        warnings.filterwarnings("ignore", message="The tensor attribute")
        network = _network(quantized, inputs, style)
        program = _captured(network, inputs, dynamic_batch)
        names = tuple(name for name, _ in inputs.tensors())
        outputs = tuple(f"output{name}" for name, _ in quantized.plan.trace.outputs)
        written = _translated(program, names, outputs, max(opset, OPSET))
    sites = name_tensors(written.model, network.tensors.names)
    is_dynamic = name_batch(written.model)
    if dynamic_batch and not is_dynamic:
        warnings.warn(
            f"the forward fixes the number of images, so that the file takes {inputs.batch_size} at a time.",
            QdiagWarning,
            stacklevel=2,
        )
    drop_remarks(written.model)
    written.model.metadata_props.update({"qdiag.style": style, "qdiag.names": json.dumps(sites)})
    _check_size(written)
    check = FileCheck.of(style, inputs, written.model, opset)
    if opset < OPSET:
        lower_opset(written.model, opset)
    written.model.ir_version = ir_version(opset)
    _save(written, target, check)
    formats = {str(site): str(qparams) for site, qparams in quantized.formats.qparams.items()}
    return ExportedModel(target, style, opset, names, outputs, sites, formats, is_dynamic)


def _check(quantized: QuantizedModel, path: Path, style: str) -> None:
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
    trace = quantized.plan.trace
    computed = _of_inputs(trace)
    for layer in quantized.plan.layers:
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


def _has_16_bits(plan: QuantPlan) -> bool:
    return any(bits == 16 for _, bits in _bits(plan))


def _bits(plan: QuantPlan) -> list[tuple[str, int]]:
    """The bits of every format, with the layer's address."""
    return [
        (str(layer.site), scheme.bits) for layer in plan.layers for scheme in (layer.output, layer.weight) if scheme
    ]


def _check_opset(quantized: QuantizedModel, style: str, opset: int) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not LOWEST <= opset <= newest:
        raise OptionError(f"opset={opset}: files are written from {LOWEST} to {newest}.", code="opset")
    if style != "qdq":
        return
    if opset < OPSET_AXIS and any(layer.weight and layer.weight.axis is not None for layer in quantized.plan.layers):
        raise OptionError(
            f"opset={opset} has one scale for a tensor: scales for each channel came with opset {OPSET_AXIS}.",
            code="opset",
        )
    for site, bits in _bits(quantized.plan):
        if bits not in (8, 16):
            raise OptionError(
                f"{site!r} has {bits} bits, and a file of integers 8 or 16. Use style='clips'.", code="bits-unsupported"
            )
    if opset < OPSET_16_BIT and _has_16_bits(quantized.plan):
        raise OptionError(
            f"opset={opset} has no 16-bit QuantizeLinear: that came with opset {OPSET_16_BIT}.", code="opset"
        )


def recorded_inputs(quantized: QuantizedModel, data: Any, dynamic_batch: bool) -> Inputs:
    """The inputs to record the forward with; of two images where any number is to be allowed."""
    inputs = _traced_inputs(quantized) if data is None else first_inputs(data, quantized.module)
    inputs = inputs.to_device_of(quantized.module)
    inputs.check_finite("the example input")
    if not inputs.tensors():
        raise InputError("the example input holds no tensor. Give what the model is called with.", code="no-tensor")
    alone = all(tensor.ndim and len(tensor) == 1 for _, tensor in inputs.tensors())
    # torch.export takes an axis of length 1 for a fixed one
    return inputs.map(lambda tensor: torch.cat([tensor, tensor])) if dynamic_batch and alone else inputs


def _traced_inputs(quantized: QuantizedModel) -> Inputs:
    args: list[torch.Tensor] = []
    kwargs: dict[str, torch.Tensor] = {}
    for value in quantized.plan.trace.inputs:
        if not value.name.isidentifier() or not value.is_floating:
            raise InputError(
                f"the model's input {value.name!r} is not a plain floating-point tensor. Give data.",
                code="input-type",
            )
        tensor = torch.rand(value.shape, dtype=value.dtype)
        if value.name == (f"input{len(args)}" if args else "input"):
            args.append(tensor)
        else:
            kwargs[value.name] = tensor
    return Inputs(*args, **kwargs)


def _network(quantized: QuantizedModel, inputs: Inputs, style: Style) -> Network:
    kind = STYLES[style]
    constants = ConstantTensors(layer_constants(quantized, kind.weight_formats(quantized.plan), inputs))
    interpreter = Interpreter(
        quantized.module,
        quantized.formats.plan,
        kind(quantized.formats, constants),
        rewrite=in_one_operator,
        keeps_weights=False,
    )
    return Network(interpreter, constants, inputs)


def _captured(network: Network, inputs: Inputs, dynamic_batch: bool) -> torch.export.ExportedProgram:
    tensors = tuple(tensor for _, tensor in inputs.tensors())
    batch = torch.export.Dim.AUTO if dynamic_batch else torch.export.Dim.STATIC
    shapes = tuple({0: batch} if tensor.ndim and len(tensor) == len(tensors[0]) else None for tensor in tensors)
    try:
        return torch.export.export(network.eval(), tensors, dynamic_shapes=(shapes,), strict=False)
    except ModelError as error:
        if isinstance(error.__cause__, GuardOnDataDependentSymNode):
            raise ModelError(
                f"the forward decides by the values of a tensor, at or after {_last_site(error)}, and a file holds one "
                "way. Export a model of each way.",
                code="data-dependent-forward",
            ) from error
        raise


def _last_site(error: ModelError) -> str:
    return str(error).partition("site ")[2].partition(" ")[0].rstrip(":") or "its end"


def _translated(
    program: torch.export.ExportedProgram, inputs: tuple[str, ...], outputs: tuple[str, ...], opset: int
) -> torch.onnx.ONNXProgram:
    try:
        written = torch.onnx.export(
            program,
            input_names=inputs,
            output_names=outputs,
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ModelError(
            f"torch's exporter cannot write this network as ONNX: {error}. "
            "Replace the operation it names, or keep what comes after the network's layers out of the forward.",
            code="not-exportable",
        ) from error
    assert written is not None, "export without dynamo's own file gives a program"
    return written


def _check_size(written: torch.onnx.ONNXProgram) -> None:
    size = sum(value.const_value.nbytes for value in written.model.graph.initializers.values() if value.const_value)
    if size > LARGEST:
        raise ModelError(
            f"the weights take {size / 2**30:.1f} GB, and one ONNX file holds 1.5. Export the network in parts.",
            code="too-large",
        )


def _save(written: torch.onnx.ONNXProgram, path: Path, check: FileCheck) -> None:
    """All or nothing: a reader, or a crash, never meets half a file, nor one that does not load."""
    try:
        with written_whole(path) as draft:
            written.save(draft)
            check(draft)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}.", code="cannot-write") from error
