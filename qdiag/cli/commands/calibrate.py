"""`qdiag calibrate`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, MethodOptions, ModelOptions
from qdiag.cli.output import PANEL, OutputOptions, bar, check_writable, tell
from qdiag.cli.quantized import calibrated
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.streaming import outputs_steps
from qdiag.progress import run
from qdiag.quantization.calibration_report import calibration_report
from qdiag.tensor_files import write_tensors


def calibrate(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    fit: MethodOptions,
    output: OutputOptions,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=PANEL, help="Write the state_dict, for QuantTestModule to load."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=PANEL,
            help="Write what is done so far; where the file exists, go on from there.",
        ),
    ] = None,
) -> None:
    """Make the model fit its 8 bits, without labels and without training, and say what that gained.

    Measured on --images; calibrated on --calibration, or else on 128 of the same images.

    qdiag calibrate my_model.py:build --images photos/ --calibration others/ --save calibrated.pt
    """
    check_writable(save)
    check_writable(checkpoint)
    widths = fit.widths
    subject = gather(model, data, formats.calibration).subject
    chosen = fit.method if isinstance(widths, int) else f"{fit.method}, {widths}"
    found = {} if chosen == "simple" else {"simple": calibrated(subject, formats, "simple", fit.bits)}
    found[chosen] = calibrated(subject, formats, fit.method, widths, checkpoint)
    outputs = run(outputs_steps(subject, found, "measuring"), bar())
    if save is not None:
        write_tensors(save, found[chosen].state_dict(), "Name another file, or make room.", is_state=True)
        tell(f"Saved: {save.resolve()}")
    output.show(calibration_report(found[chosen]))
    if not output.json:
        _print(outputs)


def _print(outputs: dict[str, OutputError]) -> None:
    """Each method's outputs against float's."""
    table = Table("Method", "Output SQNR", "Agrees with float", "Top-1", "Drop (95 % interval)", box=None)
    for name, error in outputs.items():
        table.add_row(name, f"{error.sqnr_db:.1f} dB", *map(Text, _decisions(error)))
    console = Console()
    console.rule("On the images to measure", align="left", style="dim")
    console.print(table)


def _decisions(error: OutputError) -> tuple[str, str, str]:
    agreement = "" if error.agreement_percent is None else f"{error.agreement_percent:.1f} % of {error.decisions}"
    if error.top1_percent is None or error.drop_points is None or error.drop_interval is None:
        return agreement, "", ""
    low, high = error.drop_interval
    return agreement, f"{error.top1_percent:.1f} %", f"{error.drop_points:.1f} ({low:.1f} to {high:.1f})"
