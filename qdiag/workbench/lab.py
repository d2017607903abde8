"""The guided notebooks, opened on a copy of their own."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from qdiag.errors import OptionError

PACKAGE = Path(__file__).parents[1]


def launch_lab(folder: Path) -> int:
    """Copy the notebooks to a folder and open JupyterLab there. Returns JupyterLab's exit code.

    Raises OptionError where JupyterLab is not installed, or the folder cannot be written.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise OptionError("JupyterLab is not installed: pip install jupyterlab", code="not-installed")
    place = copy_notebooks(folder)
    first = min(place.glob("*.ipynb"))
    print(f"Notebooks: {place.resolve()}", file=sys.stderr)  # noqa: T201
    return subprocess.call([sys.executable, "-m", "jupyterlab", str(first)])


def copy_notebooks(folder: Path) -> Path:
    """A fresh copy in `folder`, or in the first of folder-2, folder-3 … that does not exist: edits are never lost."""
    source = next(p for p in (PACKAGE / "notebooks", PACKAGE.parent / "notebooks") if p.is_dir())
    place, number = folder, 1
    while place.exists():
        number += 1
        place = folder.with_name(f"{folder.name}-{number}")
    try:
        place.mkdir(parents=True)
        for notebook in sorted(source.glob("*.ipynb")):
            shutil.copy(notebook, place)
    except OSError as error:
        raise OptionError(
            f"cannot write the notebooks to {place}: {error.strerror}. Name another folder.", code="cannot-write"
        ) from error
    return place
