"""`qdiag verify`."""

from pathlib import Path
from typing import Annotated

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, QuantizedOptions
from qdiag.cli.output import PANEL, OutputOptions, bar
from qdiag.cli.quantized import quantized
from qdiag.export.verify import IMAGES
from qdiag.export.verify import verify as verify_model


def verify(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: QuantizedOptions,
    output: OutputOptions,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="PYTHON",
            rich_help_panel=PANEL,
            help="A Python with another onnxruntime, as the target's tools ship it.",
        ),
    ] = None,
) -> None:
    """Does an integer runtime compute the very tensors that the simulation shows?

    On 16 of the images, or on as many as --limit says.

    Exit code: 0 where it does, 1 where a layer computes other integers from the same inputs, or the results alone
    differ, 2 where it could not be checked.

    qdiag verify my_model.py:build --images photos/ --load calibrated.pt
    """
    subject = gather(model, data, formats.calibration).subject
    fixed, images = quantized(subject, formats, fit), data.limit or IMAGES
    found = verify_model(fixed, subject.data, images=images, runtime=runtime, on_progress=bar())
    output.show(found)
    raise typer.Exit(found.exit_code)
