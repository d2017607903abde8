"""`qdiag demo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from qdiag.cli.output import Json, bar, check_writable
from qdiag.demo.load import DemoKind, load_demo
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.pipeline import diagnose


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("qdiag-report.html"),
    json: Json = False,
) -> None:
    """Diagnose a small network that loses accuracy in 8 bit, and its healthy twin.

    qdiag demo
    """
    check_writable(output)
    wild = _diagnosed("wild")
    page = wild.to_html(output).resolve()
    if json:
        typer.echo(wild.to_json())
        return
    wild.print()
    console = Console()
    console.print()
    console.rule("In short", align="left", style="dim")
    for name, found in (("This network", wild), ("Its healthy twin", _diagnosed("healthy"))):
        console.print(Text.assemble((f"{name}: ", "bold"), found.verdict.headline, _accuracy(found)))
    console.print(Text(f"Report: {page}"), soft_wrap=True)
    console.print(Text("Your own: qdiag diagnose my_model.py:build --images photos/   Notebooks: qdiag lab"))


def _diagnosed(kind: DemoKind) -> Diagnosis:
    subject = load_demo(kind)
    return diagnose(
        subject.model,
        subject.loader,
        subject.optimizer,
        calibration_data=subject.calibration_loader,
        on_progress=bar(),
    )


def _accuracy(found: Diagnosis) -> str:
    """Top-1 of float and of each format, the demo's data having labels."""
    outputs = found.comparison.outputs.items()
    parts = [("float", found.comparison.float_top1_percent), *((name, output.top1_percent) for name, output in outputs)]
    return f" Top-1: {', '.join(f'{name} {top1:.1f} %' for name, top1 in parts)}."
