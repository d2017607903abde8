"""`export_target()`: everything that an engine's importer needs, in one folder."""

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qdiag.errors import OptionError
from qdiag.export.constants import layer_constants
from qdiag.export.engines.engine import Calibration, Delivery, Engine, Setting
from qdiag.export.engines.file_versions import FileVersion, file_version
from qdiag.export.export_onnx import export_onnx
from qdiag.export.exported_model import ExportedModel
from qdiag.export.installed import check_installed
from qdiag.export.lower_opset import ir_version
from qdiag.export.range_file import range_text
from qdiag.export.recording import fewest_images
from qdiag.export.styles import Style
from qdiag.export.target_files import TargetExport
from qdiag.export.target_layers import FileLayers
from qdiag.export.target_request import planned, requested
from qdiag.files import FilesTogether
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.report.to_text import render_text
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs

README = "README.txt"
WIDTH = 120


def export_target(
    quantized: QuantizedModel | QuantBaseModule,
    folder: str | os.PathLike[str],
    data: Any = None,
    *,
    target: str = "tidl",
    version: str | None = None,
    runtime: str | None = None,
    style: Style = "clips",
    calibration: Calibration = "qdiag",
) -> TargetExport:
    """Write the network, the importer's settings, and every range into a folder; README.txt there explains each line.

    Layers are named as tensors of the ONNX file, which are the model's own addresses: `TargetExport.layers` maps them.
    What only the engine's tools can show stands in `TargetExport.unverified`. The model is left as it was.

    Args:
        quantized: From `calibrate`, or one of the modules that hold such a model.
        folder: Made where it is not there; files of the same names are replaced, all together: a run that is stopped or
            killed leaves those of before, or no settings, without which no importer starts.
        data: As for `export_onnx`, of the size that the engine is to run at; its first image counts, as engines run one
            at a time.
        target: The engine, by name.
        version: Of the engine, as "8.6"; the first that reads every file written here if not given. The file is of an
            opset and IR version that its runtime reads.
        runtime: What calls the engine's importer; for TIDL "onnxruntime", "tflite", "tvm" (compiler options as JSON) or
            "import-tool" (its text file).
        style: "clips" gives ranges as Clips and, where the version reads one, as a range file; "qdq" is a network of
            integers, which brings its scales along.
        calibration: "target" leaves the ranges to the engine's own calibration.

    Raises:
        OptionError: For what the engine does not take, before anything is written.
        InputError: For data that the model does not take.
        ModelError: For a model that no file can hold.

    >>> import tempfile, torch
    >>> from torch import nn
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval()
    >>> quantized = calibrate(net, torch.rand(16, 3, 6, 6), "simple")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     exported = export_target(quantized, folder, version="9.2")
    >>> list(exported.files), exported.setting("tensor_bits")
    (['model.onnx', 'onnxruntime_options.json', 'ranges.prototxt', 'README.txt'], 8)
    """
    quantized = quantized_model(quantized)
    check_installed("onnx", "onnxscript")
    engine, delivery = requested(target, version, runtime, style, calibration)
    delivery = planned(delivery, quantized.plan)
    engine.check(delivery)
    place = _made(Path(folder))
    inputs = fewest_images(quantized, data)
    with FilesTogether(place, "Name a folder with room that you may write to.") as files:
        return _written(quantized, engine, delivery, inputs, files)


def _written(
    quantized: QuantizedModel, engine: type[Engine], delivery: Delivery, inputs: Inputs, files: FilesTogether
) -> TargetExport:
    """Everything that belongs in the folder, written."""
    reads = file_version(engine.file_versions, delivery.version)
    exported = export_onnx(
        quantized,
        files.draft(engine.model_file),
        inputs,
        style=delivery.style,
        opset=reads.opset if reads else None,
        dynamic_batch=False,
    )
    found = _file_layers(quantized, exported, inputs, engine) if delivery.style == "clips" else None
    wide, wide_weights = (_listed(exported, sites) for sites in (delivery.wide, delivery.wide_weights))
    settings = engine.settings(delivery, wide, wide_weights)
    told = _write_told(engine, delivery, settings, found, files)
    result = TargetExport(
        model_name=quantized.plan.trace.model_name,
        target=engine.name,
        version=".".join(map(str, delivery.version)),
        runtime=delivery.runtime,
        folder=files.folder,
        files={engine.model_file: _network_text(exported.opset, reads), **told, README: "this page"},
        settings=settings,
        exported=dataclasses.replace(exported, path=files.folder / engine.model_file),
        layers=tuple(found.layers) if found else (),
        wide=wide,
        unlisted=tuple(found.unlisted) if found else (),
        floating={str(site): reason for site, reason in quantized.plan.floating.items()},
        simulated=quantized.plan.target.name,
        unverified=engine.unverified,
    )
    files.write(README, render_text(result.report(), WIDTH, everything=True) + "\n")
    return result


def _write_told(
    engine: type[Engine],
    delivery: Delivery,
    settings: Sequence[Setting],
    found: FileLayers | None,
    files: FilesTogether,
) -> dict[str, str]:
    """What the importer is told beside the network, written; by file name what each is for."""
    name, text = engine.settings_file(delivery, settings)
    files.write(name, text, last=True)
    told = {name: "what the importer is to be told"}
    if found is not None and engine.reads_ranges(delivery):
        files.write(engine.range_file, range_text(found.layers))
        told[engine.range_file] = "the range of every layer: with it the importer has nothing to calibrate"
    return told


def _network_text(opset: int, reads: FileVersion | None) -> str:
    newest = f"; read are opsets to {reads.newest_opset} and IR versions to {reads.newest_ir}" if reads else ""
    return f"the network, opset {opset}, IR {ir_version(opset)}{newest}"


def _listed(exported: ExportedModel, sites: tuple[str, ...]) -> tuple[str, ...]:
    """Names as a list in text can hold them."""
    names = tuple(exported.name(site) for site in sites)
    for name in names:
        if re.search(r"[\s,]", name):
            raise OptionError(
                f"{name!r} cannot stand in a list of 16-bit layers: rename the module, without , or space.",
                code="layer-name",
            )
    return names


def _file_layers(
    quantized: QuantizedModel, exported: ExportedModel, inputs: Inputs, engine: type[Engine]
) -> FileLayers:
    import onnx

    with borrow(quantized.module):
        constants = layer_constants(quantized, quantized.plan, inputs)
    return FileLayers(onnx.load(exported.path), exported.names, quantized, constants, engine.layer_type)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"cannot write to the folder {folder}: {error.strerror}. Name one that can be made.", code="cannot-write"
        ) from error
    return folder
