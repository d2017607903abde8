"""`qdiag export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, QuantizedOptions
from qdiag.cli.output import PANEL, OutputOptions, bar, check_writable, tell
from qdiag.cli.quantized import quantized
from qdiag.export.export_onnx import export_onnx
from qdiag.export.verify import verify as verify_model


class StyleName(StrEnum):
    """How the file says what fixed point it is meant for."""

    QDQ = "qdq"
    CLIPS = "clips"


def export(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: QuantizedOptions,
    shown: OutputOptions,
    output: Annotated[Path, typer.Option("--output", "-o", rich_help_panel=PANEL, help="The ONNX file to write.")],
    style: Annotated[
        StyleName,
        typer.Option(
            rich_help_panel=PANEL,
            help="qdq: integers, for runtimes that compute with them. clips: floats between powers of two, for "
            "importers that quantize by themselves.",
        ),
    ] = StyleName.QDQ,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=PANEL, help="11 or higher; 18, or 21 for 16 bits, if not given."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", rich_help_panel=PANEL, help="Then do, and show, what `qdiag verify` does.")
    ] = False,
) -> None:
    """Write the model in fixed point as an ONNX file.

    Exit code: 0 where it was written, 1 where --verify finds a layer that computes other integers, or results alone
    that differ, 2 where it could not be written.

    qdiag export my_model.py:build --images photos/ --output model.onnx --verify
    """
    check_writable(output)
    subject = gather(model, data, formats.calibration).subject
    found = quantized(subject, formats, fit)
    exported = export_onnx(found, output, subject.example, style=style.value, opset=opset)
    tell(f"Written: {output.resolve()}")
    if not verify:
        shown.show(exported)
        return
    verification = verify_model(found, subject.data, on_progress=bar())
    shown.show(verification)
    raise typer.Exit(verification.exit_code)
