"""`qdiag diagnose`, and `qdiag report`, which keeps only the page."""

import webbrowser
from pathlib import Path
from typing import Annotated, cast

import typer

from qdiag.cli.gather import gather
from qdiag.cli.options import DataOptions, FormatOptions, ModelOptions, TaskOption
from qdiag.cli.output import PANEL, OutputOptions, bar, check_writable, write_page
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.pipeline import MINUTES
from qdiag.pipeline import diagnose as diagnose_model
from qdiag.subject import Task

MinutesOption = Annotated[
    float,
    typer.Option(metavar="N", help="For repairs that search, as calibration without labels; what is left is named."),
]


def diagnose(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    output: OutputOptions,
    task: TaskOption = None,
    minutes: MinutesOption = MINUTES,
) -> None:
    """Is it quantization, which layers are to blame, why, and what to do next?

    qdiag diagnose my_model.py:build --images photos/ --limit 200
    """
    output.show(_diagnosed(model, data, formats, task, minutes))


def report(
    model: ModelOptions,
    data: DataOptions,
    formats: FormatOptions,
    output: Annotated[
        Path, typer.Option("--output", "-o", rich_help_panel=PANEL, help="The page to write; it needs no network.")
    ] = Path("qdiag-report.html"),
    task: TaskOption = None,
    minutes: MinutesOption = MINUTES,
    open: Annotated[bool, typer.Option("--open", rich_help_panel=PANEL, help="Open the page in a browser.")] = False,
) -> None:
    """Diagnose, and write what was found as one HTML page.

    qdiag report my_model.py:build --images photos/ --output report.html
    """
    check_writable(output)
    found = _diagnosed(model, data, formats, task, minutes)
    typer.echo(found.verdict.headline)
    page = write_page(found, output)
    if open:
        webbrowser.open(page.as_uri())


def _diagnosed(
    model: ModelOptions, data: DataOptions, formats: FormatOptions, task: str | None, minutes: float
) -> Diagnosis:
    given = gather(model, data, formats.calibration, cast(Task | None, task))
    return diagnose_model(
        given.subject,
        optimizer=given.optimizer,
        per_channel=formats.scales,
        target=formats.target,
        minutes=minutes,
        on_progress=bar(),
    )
