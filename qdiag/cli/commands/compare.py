"""`qdiag compare`."""

from pathlib import Path
from typing import Annotated, cast

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import FORMATS, DataOptions, FormatOptions, ModelOptions, TaskOption, whole_numbers
from qdiag.cli.output import PANEL, OutputOptions, bar, check_writable
from qdiag.comparison.compare import compare as compare_model
from qdiag.files import writing
from qdiag.subject import Task


def compare(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    output: OutputOptions,
    bits: Annotated[
        str, typer.Option(metavar="B,B", rich_help_panel=FORMATS, help="Bit widths to compare, the finest first.")
    ] = "16,8",
    task: TaskOption = None,
    csv: Annotated[
        Path | None, typer.Option(rich_help_panel=PANEL, help="Also write the table of layers, for a spreadsheet.")
    ] = None,
) -> None:
    """Float against fixed point at every layer: where does the error enter?

    qdiag compare my_model.py:build --images photos/ --limit 200 --csv layers.csv
    """
    check_writable(csv)
    widths = whole_numbers(bits, "--bits", "16,8")
    subject = gather(model, data, formats.calibration, cast(Task | None, task)).subject
    found = compare_model(subject, bits=widths, per_channel=formats.scales, target=formats.target, on_progress=bar())
    if csv is not None:
        with writing(csv, "Name another file, or make room.") as draft:
            found.to_pandas("layers").to_csv(draft, index=False)
    output.show(found)
