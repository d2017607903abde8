"""`qdiag lab`."""

from pathlib import Path
from typing import Annotated

import typer

from qdiag.workbench.lab import launch_lab


def lab(
    folder: Annotated[Path, typer.Argument(help="Where to put the notebooks.")] = Path("qdiag-notebooks"),
) -> None:
    """Open the guided notebooks in JupyterLab, on a copy that is yours to change.

    qdiag lab
    """
    raise typer.Exit(launch_lab(folder))
