"""`qdiag repair`."""

from pathlib import Path
from typing import Annotated

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, QuantizedOptions
from qdiag.cli.output import PANEL, OutputOptions, check_writable, tell
from qdiag.cli.quantized import quantized
from qdiag.export.repair_file import repair_file


def repair(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: QuantizedOptions,
    shown: OutputOptions,
    output: Annotated[Path, typer.Option("--output", "-o", rich_help_panel=PANEL, help="The ONNX file to write.")],
) -> None:
    """Write an ONNX file again in float, with the weights that calibration found, and show what changed.

    For engines that calibrate by themselves; names and nodes stay as they are.

    qdiag repair model.onnx --images photos/ --output repaired.onnx
    """
    check_writable(output)
    subject = gather(model, data, formats.calibration).subject
    found = repair_file(quantized(subject, formats, fit), output, subject.example)
    tell(f"Written: {output.resolve()}")
    shown.show(found)
