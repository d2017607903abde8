"""The `qdiag` command."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from qdiag.cli.command import command
from qdiag.cli.commands.calibrate import calibrate
from qdiag.cli.commands.compare import compare
from qdiag.cli.commands.compare_dump import compare_dump
from qdiag.cli.commands.demo import demo
from qdiag.cli.commands.diagnose import diagnose, report
from qdiag.cli.commands.export import export
from qdiag.cli.commands.export_target import export_target
from qdiag.cli.commands.lab import lab
from qdiag.cli.commands.lint import lint
from qdiag.cli.commands.repair import repair
from qdiag.cli.commands.rule import rule
from qdiag.cli.commands.train import train
from qdiag.cli.commands.verify import verify

app = typer.Typer(
    name="qdiag",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for function in (
    demo,
    lint,
    compare,
    diagnose,
    calibrate,
    train,
    export,
    repair,
    verify,
    export_target,
    compare_dump,
    report,
    rule,
    lab,
):
    app.command()(command(function))


def main() -> None:
    """The entry point of the `qdiag` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that lacks a symbol shows a question mark
    app(prog_name="qdiag")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(version("qdiag"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="The version, and nothing else.")
    ] = False,
) -> None:
    """Why does a CNN that works in float fail in 8-bit fixed point, and what mends it?

    Start with: qdiag demo
    """
