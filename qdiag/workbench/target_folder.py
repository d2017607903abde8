"""A folder to export to: is it free?"""

import os
from pathlib import Path

from qdiag.errors import OptionError
from qdiag.export.export_target import README


def check_free(folder: str | os.PathLike[str], model: str) -> None:
    """Raise OptionError where the folder holds something else than an export of this model."""
    found = taken(folder, model)
    if found:
        raise OptionError(
            f"{os.fspath(folder)} holds {found}, which the export would be mixed with. Name another folder, or give "
            "replace=True.",
            code="folder-taken",
        )


def taken(folder: str | os.PathLike[str], model: str) -> str:
    """What is in the folder that is no export of this model, in a few words; "" where nothing would be mixed.

    model: the name of its class, which the first line of an export's README.txt begins with.
    """
    place = Path(folder)
    if not place.is_dir() or not any(place.iterdir()):
        return ""
    readme = place / README
    title = readme.read_text(errors="replace").partition("\n")[0] if readme.is_file() else ""
    name, found, _ = title.partition(" for ")
    if not found:
        return "files that qdiag did not write"
    return "" if name == model else f"the export of another model, {name}"
