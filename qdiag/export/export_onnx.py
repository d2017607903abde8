"""`export_onnx()`: a quantized model as an ONNX file."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

from qdiag.errors import ModelError, OptionError, QdiagWarning
from qdiag.export.exported_model import ExportedModel
from qdiag.export.file_check import FileCheck
from qdiag.export.installed import check_installed
from qdiag.export.lower_opset import ir_version, lower_opset
from qdiag.export.recording import Recording, record, recorded_inputs
from qdiag.export.request import OPSET, check_request, chosen_opset
from qdiag.export.styles import Style
from qdiag.files import written_whole
from qdiag.loading.file_seal import SEAL, contents_of_file
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.fixed_batch import fixed_batch

LARGEST = 1536 * 2**20
"""Bytes of weights beyond which torch splits a file in two."""


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
        data: What the model is called with (see `trace`), or a DataLoader, Dataset or `Subject`, whose first batch
            counts; random numbers of the traced shapes if not given.
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

    >>> import tempfile, torch
    >>> from torch import nn
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> quantized = calibrate(net, torch.rand(16, 3, 6, 6), "simple")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(quantized, Path(folder) / "model.onnx").names
    {':input': ':input uint8', '0': '0 uint8'}
    """
    quantized, target = quantized_model(quantized), Path(path)
    check_installed("onnx", "onnxscript")
    check_request(quantized, target, style)
    opset = chosen_opset(quantized.plan, style, opset)
    inputs = recorded_inputs(quantized, data, dynamic_batch)
    takes_any = dynamic_batch and fixed_batch(quantized.module) is None
    recording = record(quantized, inputs, style, opset, dynamic_batch=takes_any)
    if dynamic_batch and not recording.is_dynamic:
        warnings.warn(
            f"the forward fixes the number of images, so that the file takes {inputs.batch_size} at a time.",
            QdiagWarning,
            stacklevel=2,
        )
    _check_size(recording)
    _save(recording, target, style, opset, FileCheck.of(style, inputs, recording.model, opset))
    return ExportedModel(
        path=target,
        style=style,
        opset=opset,
        inputs=recording.inputs,
        outputs=recording.outputs,
        names=recording.sites,
        formats={str(site): str(qparams) for site, qparams in quantized.formats.qparams.items()},
        dynamic_batch=recording.is_dynamic,
    )


def _check_size(recording: Recording) -> None:
    if recording.bytes_of_weights > LARGEST:
        raise ModelError(
            f"the weights take {recording.bytes_of_weights / 2**30:.1f} GB, and one ONNX file holds 1.5. Export the "
            "network in parts.",
            code="too-large",
        )


def _save(recording: Recording, path: Path, style: Style, opset: int, check: FileCheck) -> None:
    """All or nothing: a reader, or a crash, never meets half a file, nor one that does not load."""
    import onnx_ir

    model = recording.model
    model.metadata_props.update({"qdiag.style": style, "qdiag.names": json.dumps(recording.sites)})
    if opset < OPSET:
        lower_opset(model, opset)
    model.ir_version = ir_version(opset)
    model.metadata_props[SEAL] = contents_of_file(onnx_ir.to_proto(model))
    try:
        with written_whole(path) as draft:
            recording.program.save(draft)
            check(draft)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}.", code="cannot-write") from error
