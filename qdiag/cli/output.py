"""What a command gives back: results on standard output, everything else on standard error."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from qdiag.errors import OptionError, QdiagError
from qdiag.progress import OnProgress, Progress
from qdiag.report.displayable import Displayable

PANEL = "Output"

Json = Annotated[
    bool, typer.Option("--json", rich_help_panel=PANEL, help="Strict JSON on standard output, and nothing else there.")
]


@dataclass(frozen=True)
class OutputOptions:
    """How the result is shown, and where else it is written."""

    json: Json = False
    html: Annotated[
        Path | None, typer.Option(rich_help_panel=PANEL, help="Also write one HTML page; it needs no network.")
    ] = None

    def show(self, result: Displayable) -> None:
        """On standard output, as JSON or for reading; and the page."""
        if self.json:
            typer.echo(result.to_json())
        else:
            result.print()
        if self.html is not None:
            write_page(result, self.html)

    def __post_init__(self) -> None:
        check_writable(self.html)


def write_page(result: Displayable, path: Path) -> Path:
    """Write the HTML page and say where it is."""
    page = result.to_html(path).resolve()
    tell(f"Report: {page}")
    return page


def check_writable(path: Path | None) -> None:
    """Raises OptionError for a file that cannot be written: now, and not after minutes of work."""
    if path is not None and (path.is_dir() or not path.resolve().parent.is_dir()):
        raise OptionError(
            f"cannot write {path}: it is a folder, or its folder does not exist. Name another file.",
            code="cannot-write",
        )


def check_folder(path: Path) -> None:
    """Raises OptionError for a folder that is not there and cannot be made: now, and not after minutes of work."""
    if not (path.is_dir() or (path.resolve().parent.is_dir() and not path.exists())):
        raise OptionError(
            f"cannot write to the folder {path}: it is a file, or the folder around it does not exist.",
            code="cannot-write",
        )


def bar() -> OnProgress:
    """For `on_progress`: the usual bar where standard error is a terminal, else none."""
    return None if sys.stderr.isatty() else _no_bar


def _no_bar(progress: Progress) -> None:
    """Files and logs do not want a line for every step."""


def tell(text: str) -> None:
    """A line for whoever is watching, which a program that reads standard output never sees."""
    _standard_error().print(Text(text), soft_wrap=True)


def tell_error(error: QdiagError) -> None:
    """The error's kind and code in red, and what it says."""
    kind = f"{type(error).__name__} [{error.code}]: " if error.code else f"{type(error).__name__}: "
    _standard_error().print(Text.assemble((kind, "bold red"), str(error)), soft_wrap=True)


def _standard_error() -> Console:
    return Console(stderr=True)
