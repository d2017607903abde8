"""`qdiag compare-dump`."""

from pathlib import Path
from typing import Annotated

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, QuantizedOptions
from qdiag.cli.output import OutputOptions
from qdiag.cli.quantized import quantized
from qdiag.export.compare_dump import compare_dump as compare_with_dump
from qdiag.export.dumps.read_dump import read_dump

PANEL = "The device's tensors"


def compare_dump(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: QuantizedOptions,
    shown: OutputOptions,
    dump: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=PANEL,
            help="TIDL's traces with their layer_info.txt, or .npy and .npz files named by layer.",
        ),
    ],
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=PANEL, help="The file that the device runs: its names are known."),
    ] = None,
) -> None:
    """Does the device compute the tensors that the simulation shows? Names the layer that is wrong by itself.

    The device was given the first image of the data, or as many as --limit says in one batch.

    Exit code: 0 where every tensor was compared, none is off by more than one step and no layer is wrong by itself,
    else 1; 2 where nothing could be read.

    qdiag compare-dump my_model.py:build --images photos/ --load calibrated.pt --dump traces --onnx for_tidl/model.onnx
    """
    read_dump(dump)  # where there is nothing to read, this says so before minutes of calibration
    subject = gather(model, data, formats.calibration).subject
    images = subject.data.first.split(data.limit or 1)[0].inputs
    found = compare_with_dump(quantized(subject, formats, fit), images, dump, onnx_file=onnx)
    shown.show(found)
    raise typer.Exit(found.exit_code)
