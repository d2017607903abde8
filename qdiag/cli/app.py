"""The commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from qdiag.errors import InputError, QdiagError
from qdiag.linting.finding import Severity
from qdiag.report.displayable import Displayable

app = typer.Typer(
    help="Why does a CNN that works in float fail in 8-bit fixed point, and what mends it?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class PerChannel(StrEnum):
    """Weights with one scale for each output channel."""

    DEPTHWISE = "depthwise"
    ALL = "all"


class FailOn(StrEnum):
    """The least severity that makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    NEVER = "never"


_LEAST: dict[FailOn, Severity] = {
    FailOn.NEVER: "error",
    FailOn.ERROR: "error",
    FailOn.WARNING: "warning",
    FailOn.NOTE: "note",
}

Model = Annotated[str, typer.Argument(metavar="MODEL", help="file.py:function or package.module:function")]
Arguments = Annotated[list[str] | None, typer.Option("--arg", metavar="NAME=VALUE", help="passed to the function")]
Weights = Annotated[Path | None, typer.Option(help="a checkpoint to load into the model")]
Images = Annotated[Path | None, typer.Option(help="folder of images: class folders, labels.csv, or images alone")]
Data = Annotated[str | None, typer.Option(metavar="SPEC", help="file.py:function that returns batches")]
Random = Annotated[
    str | None, typer.Option("--input", metavar="N,C,H,W", help="noise of this shape, for want of images")
]
Calibration = Annotated[Path | None, typer.Option(help="folder of images that ranges come from")]
Size = Annotated[int, typer.Option(help="pixels of the square that is cut out of the middle")]
Resize = Annotated[int, typer.Option(help="pixels of the short side before that")]
Mean = Annotated[str, typer.Option(metavar="R,G,B", help="subtracted, after scaling to 0 … 1")]
Std = Annotated[str, typer.Option(metavar="R,G,B", help="divided by")]
Interpolation = Annotated[str, typer.Option(help="bilinear, bicubic, nearest …")]
Limit = Annotated[int | None, typer.Option(min=1, help="so many images, spread over the folder")]
BatchSize = Annotated[int, typer.Option(min=1)]
Bits = Annotated[str, typer.Option(metavar="B,B", help="bit widths to compare, the finest first")]
ByChannel = Annotated[PerChannel | None, typer.Option("--per-channel", help="weights with a scale for each channel")]
Target = Annotated[str, typer.Option(help="tidl or onnxruntime: whose rounding")]
Device = Annotated[str, typer.Option(help="cpu, cuda …")]
Json = Annotated[bool, typer.Option("--json", help="strict JSON on standard output, and nothing else")]
Html = Annotated[Path | None, typer.Option(help="write the report as one HTML page")]
Output = Annotated[Path, typer.Option("--output", "-o", help="the page to write")]

IMAGENET = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}


@app.command()
def demo(output: Output = Path("qdiag-report.html"), json: Json = False) -> None:
    """Diagnose a small network with planted faults, and its healthy twin."""
    from qdiag.demo.load import load_demo
    from qdiag.pipeline import diagnose

    wild, healthy = (load_demo(kind) for kind in ("wild", "healthy"))
    found, twin = (
        diagnose(d.model, d.loader, d.optimizer, calibration_data=d.calibration_loader) for d in (wild, healthy)
    )
    show(found, json, output)
    if not json:
        console = Console()
        console.print(
            f"\n[bold]Its healthy twin[/], with BatchNorm everywhere and weight decay: {twin.verdict.headline}"
        )
        console.print("Next: your own model, [bold]qdiag diagnose my_model.py:build --images photos/[/]; or qdiag lab.")


@app.command()
def lint(
    model: Model,
    input: Random = None,
    data: Data = None,
    images: Images = None,
    arg: Arguments = None,
    weights: Weights = None,
    select: Annotated[list[str] | None, typer.Option(help="only this rule")] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="not this rule")] = None,
    suppress: Annotated[
        list[str] | None, typer.Option(metavar="RULE=SITE", help="not this rule at sites like this")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="exit with 1 from this severity on")] = FailOn.ERROR,
    json: Json = False,
    html: Html = None,
) -> None:
    """Is the model built and trained in a way that quantizes? Exit code 1 where a finding is an error.

    qdiag lint my_model.py:build --input 1,3,224,224
    """
    from qdiag.linting.lint import lint_model
    from qdiag.tracing.inputs import example

    subject = gather(model, arg, weights, data, images, input)
    aside: dict[str, list[str]] = {}
    for pair in suppress or ():
        rule, equals, site = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r}: write RULE=SITE, as QD101=head.*")
        aside.setdefault(rule, []).append(site)
    report = lint_model(
        subject.model,
        example(subject.data, subject.model),
        subject.optimizer,
        select=select,
        ignore=ignore,
        suppress=aside,
        fail_on=_LEAST[fail_on],
    )
    show(report, json, html)
    raise typer.Exit(0 if fail_on is FailOn.NEVER else report.exit_code)


@app.command()
def compare(
    model: Model,
    images: Images = None,
    data: Data = None,
    input: Random = None,
    calibration: Calibration = None,
    arg: Arguments = None,
    weights: Weights = None,
    bits: Bits = "16,8",
    per_channel: ByChannel = None,
    target: Target = "tidl",
    device: Device = "cpu",
    size: Size = 224,
    resize: Resize = 256,
    mean: Mean = IMAGENET["mean"],
    std: Std = IMAGENET["std"],
    interpolation: Interpolation = "bilinear",
    limit: Limit = None,
    batch_size: BatchSize = 16,
    json: Json = False,
    html: Html = None,
    csv: Annotated[Path | None, typer.Option(help="write the table of layers")] = None,
) -> None:
    """Float against fixed point at every layer.

    qdiag compare my_model.py:build --images photos/ --limit 200
    """
    from qdiag.comparison.compare import compare as compare_model

    folder = preprocessing(size, resize, mean, std, interpolation, limit, batch_size)
    subject = gather(model, arg, weights, data, images, input, calibration, folder, device)
    found = compare_model(
        subject.model,
        subject.data,
        integers(bits),
        per_channel=None if per_channel is None else per_channel.value,
        calibration_data=subject.calibration,
        target=target,
    )
    if csv is not None:
        found.to_pandas("layers").to_csv(csv, index=False)
    show(found, json, html)


@app.command()
def diagnose(
    model: Model,
    images: Images = None,
    data: Data = None,
    input: Random = None,
    calibration: Calibration = None,
    arg: Arguments = None,
    weights: Weights = None,
    per_channel: ByChannel = None,
    target: Target = "tidl",
    device: Device = "cpu",
    size: Size = 224,
    resize: Resize = 256,
    mean: Mean = IMAGENET["mean"],
    std: Std = IMAGENET["std"],
    interpolation: Interpolation = "bilinear",
    limit: Limit = None,
    batch_size: BatchSize = 16,
    json: Json = False,
    html: Html = None,
) -> None:
    """Is it quantization, which layers, why, what next.

    qdiag diagnose my_model.py:build --images photos/ --limit 200
    """
    from qdiag.pipeline import diagnose as diagnose_model

    folder = preprocessing(size, resize, mean, std, interpolation, limit, batch_size)
    subject = gather(model, arg, weights, data, images, input, calibration, folder, device)
    found = diagnose_model(
        subject.model,
        subject.data,
        subject.optimizer,
        per_channel=None if per_channel is None else per_channel.value,
        calibration_data=subject.calibration,
        target=target,
    )
    show(found, json, html)


@app.command()
def report(
    model: Model,
    images: Images = None,
    data: Data = None,
    input: Random = None,
    calibration: Calibration = None,
    arg: Arguments = None,
    weights: Weights = None,
    device: Device = "cpu",
    size: Size = 224,
    resize: Resize = 256,
    mean: Mean = IMAGENET["mean"],
    std: Std = IMAGENET["std"],
    interpolation: Interpolation = "bilinear",
    limit: Limit = None,
    batch_size: BatchSize = 16,
    output: Output = Path("qdiag-report.html"),
) -> None:
    """Diagnose, and write one HTML page that opens without a network.

    qdiag report my_model.py:build --images photos/ -o report.html
    """
    from qdiag.pipeline import diagnose as diagnose_model

    folder = preprocessing(size, resize, mean, std, interpolation, limit, batch_size)
    subject = gather(model, arg, weights, data, images, input, calibration, folder, device)
    found = diagnose_model(subject.model, subject.data, subject.optimizer, calibration_data=subject.calibration)
    Console().print(found.verdict.headline)
    _tell(found.to_html(output))


@app.command()
def explain(
    rule: Annotated[str | None, typer.Argument(help="a code or name, as QD101; none lists all")] = None,
) -> None:
    """A lint rule: what it finds, why that hurts in fixed point, how to fix it."""
    from qdiag.linting.explain import explain_rule
    from qdiag.linting.rule import RULES

    if rule is not None:
        explain_rule(rule).print()
        return
    console = Console()
    for known in RULES:
        console.print(f"[bold]{known.code}[/] {known.name} ({known.severity}): {known.title}", highlight=False)


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="where to put the notebooks")] = Path("qdiag-notebooks"),
) -> None:
    """Open the guided notebooks in JupyterLab, on a copy of their own."""
    from qdiag.workbench.lab import launch_lab

    raise typer.Exit(launch_lab(folder))


def gather(
    model: str,
    arguments: list[str] | None,
    weights: Path | None,
    data: str | None,
    images: Path | None,
    shape: str | None,
    calibration: Path | None = None,
    folder: Any = None,
    device: str = "cpu",
) -> Any:
    """The model and its data, from the first source that was given."""
    from dataclasses import replace

    from qdiag.cli import inputs

    folder = folder or preprocessing()
    subject = inputs.build(model, arguments or (), weights, device)
    if images is not None:
        subject = replace(subject, data=inputs.folder_data(images, *folder))
    elif data is not None:
        subject = replace(subject, data=inputs.load_data(data))
    elif shape is not None:
        _say("Images of noise: lint and formats are right, but decisions on noise say little about accuracy.")
        subject = replace(subject, data=inputs.random_images(shape))
    if subject.data is None:
        raise InputError("no data: give --images FOLDER, --data file.py:function, or --input 1,3,224,224 for noise.")
    if calibration is not None:
        subject = replace(subject, calibration=inputs.folder_data(calibration, *folder))
    return subject


def preprocessing(
    size: int = 224,
    resize: int = 256,
    mean: str = IMAGENET["mean"],
    std: str = IMAGENET["std"],
    interpolation: str = "bilinear",
    limit: int | None = None,
    batch_size: int = 16,
) -> tuple[Any, int | None, int]:
    """How a folder's images are prepared, how many, and how many at a time."""
    from qdiag.images import Preprocessing

    return Preprocessing(resize, size, floats(mean), floats(std), interpolation), limit, batch_size


def floats(text: str) -> tuple[float, ...]:
    """Numbers with commas between."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write numbers with commas between, as 0.5,0.5,0.5") from None


def integers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between."""
    return tuple(int(number) for number in floats(text))


def show(result: Displayable, json: bool, html: Path | None) -> None:
    """On standard output as JSON or for reading; the page beside it."""
    if json:
        sys.stdout.write(result.to_json() + "\n")
    else:
        result.print()
    if html is not None:
        _tell(result.to_html(html))


def _tell(page: Path) -> None:
    _say(f"Report: {page.resolve()}")


def _say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)


@contextmanager
def plain_errors(debug: bool) -> Iterator[None]:
    """Errors of ours as one message with exit code 2; Ctrl-C as exit code 130."""
    try:
        yield
    except QdiagError as error:
        if debug:
            raise
        Console(stderr=True).print(f"[bold red]{type(error).__name__}[/]:", str(error), highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """The entry point of the `qdiag` command."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that lacks a symbol shows a question mark
    with plain_errors(debug):
        app()
