"""`export_target()`: everything that an engine's importer needs, in one folder."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from qdiag.errors import OptionError
from qdiag.export.constants import layer_constants
from qdiag.export.engines.engine import ENGINES, Calibration, Delivery, Engine
from qdiag.export.engines.file_versions import FileVersion, file_version
from qdiag.export.export_onnx import Style, export_onnx, recorded_inputs
from qdiag.export.exported_model import ExportedModel
from qdiag.export.installed import check_installed
from qdiag.export.lower_opset import ir_version
from qdiag.export.range_file import range_text
from qdiag.export.styles import STYLES
from qdiag.export.target_files import TargetExport
from qdiag.export.target_layers import FileLayers
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.modules import quantized_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.report.to_text import render_text
from qdiag.tracing.batches import Batch
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
        folder: Made where it is not there; files of the same names are replaced.
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
    delivery = _planned(delivery, quantized.plan)
    engine.check(delivery)
    place = _made(Path(folder))
    inputs = Batch(recorded_inputs(quantized, data, dynamic_batch=False)).split(1)[0].inputs
    reads = file_version(engine.file_versions, delivery.version)
    opset = reads.opset if reads else None
    exported = export_onnx(quantized, place / engine.model_file, inputs, style=style, opset=opset, dynamic_batch=False)
    found = _file_layers(quantized, exported, inputs, engine) if style == "clips" else None
    wide, wide_weights = (_listed(exported, sites) for sites in (delivery.wide, delivery.wide_weights))
    settings = engine.settings(delivery, wide, wide_weights)
    settings_name, settings_text = engine.settings_file(delivery, settings)
    files = {engine.model_file: _network_text(exported.opset, reads), settings_name: "what the importer is to be told"}
    _write(place / settings_name, settings_text)
    if found is not None and engine.reads_ranges(delivery):
        files[engine.range_file] = "the range of every layer: with it the importer has nothing to calibrate"
        _write(place / engine.range_file, range_text(found.layers))
    result = TargetExport(
        model_name=quantized.plan.trace.model_name,
        target=target,
        version=".".join(map(str, delivery.version)),
        runtime=delivery.runtime,
        folder=place,
        files=files | {README: "this page"},
        settings=settings,
        exported=exported,
        layers=tuple(found.layers) if found else (),
        wide=wide,
        unlisted=tuple(found.unlisted) if found else (),
        floating={str(site): reason for site, reason in quantized.plan.floating.items()},
        simulated=quantized.plan.target.name,
        unverified=engine.unverified,
    )
    _write(place / README, render_text(result.report(), WIDTH, everything=True) + "\n")
    return result


def requested(
    target: str,
    version: str | None,
    runtime: str | None,
    style: Style,
    calibration: Calibration,
    *,
    bits: int = 8,
    is_per_channel: bool = False,
) -> tuple[type[Engine], Delivery]:
    """The engine, and what is asked of it. Raises OptionError for what it does not take, as far as options tell."""
    engine = ENGINES[target]
    runtime = runtime or engine.runtimes[0]
    if runtime not in engine.runtimes:
        raise OptionError(
            f"runtime={runtime!r}: {engine.name} has {', '.join(map(repr, engine.runtimes))}.", code="option-value"
        )
    if style not in STYLES:
        raise OptionError(f"style={style!r}: it is {' or '.join(map(repr, STYLES))}.", code="option-value")
    if calibration not in ("qdiag", "target"):
        raise OptionError(f"calibration={calibration!r}: it is 'qdiag' or 'target'.", code="option-value")
    numbers = _version(version or engine.default_version)
    delivery = Delivery(numbers, runtime, style, calibration, bits, is_per_channel=is_per_channel)
    engine.check(delivery)
    return engine, delivery


def _network_text(opset: int, reads: FileVersion | None) -> str:
    newest = f"; read are opsets to {reads.newest_opset} and IR versions to {reads.newest_ir}" if reads else ""
    return f"the network, opset {opset}, IR {ir_version(opset)}{newest}"


def _planned(delivery: Delivery, plan: QuantPlan) -> Delivery:
    """With what the plan says of its layers."""
    bits, wide, wide_weights = _widths(plan)
    is_per_channel = any(layer.weight is not None and layer.weight.axis is not None for layer in plan.layers)
    return dataclasses.replace(delivery, bits=bits, wide=wide, wide_weights=wide_weights, is_per_channel=is_per_channel)


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)[._](\d+)", str(text))
    if found is None:
        raise OptionError(
            f"version={text!r}: write it as '8.6', the engine's major and minor version.", code="option-value"
        )
    return int(found[1]), int(found[2])


def _widths(plan: QuantPlan) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """The bits of the network; layers with 16 in one of 8; and those of them whose weights alone have 16."""
    wide, wide_weights, all_bits = [], [], set()
    for layer in plan.layers:
        site, output, weight = str(layer.site), layer.output, layer.weight
        if output is None or (layer.is_weighted and weight is None):
            raise OptionError(
                f"{site!r} stays in float, and the target computes in 8 or 16 bits. Give it bits.",
                code="bits-unsupported",
            )
        widths = {output.bits} if weight is None else {output.bits, weight.bits}
        if not widths <= {8, 16}:
            raise OptionError(
                f"{site!r} has {' and '.join(map(str, sorted(widths)))} bits; the target 8 or 16.",
                code="bits-unsupported",
            )
        if output.bits == 16 and weight is not None and weight.bits == 8:
            raise OptionError(
                f"{site!r} stores 16 bits and has weights of 8; on the target 16 bits hold for both.",
                code="bits-unsupported",
            )
        all_bits |= widths
        if output.bits == 16:
            wide.append(site)
        elif weight is not None and weight.bits == 16:
            wide_weights.append(site)
    return (16, (), ()) if all_bits == {16} else (8, tuple(wide), tuple(wide_weights))


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


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}.", code="cannot-write") from error
