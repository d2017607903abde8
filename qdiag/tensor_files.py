"""Files of tensors and plain containers, read and written with errors of ours.

May import: blocks, contents, files, image_folder, progress, registry, weights and below.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from qdiag.errors import OptionError
from qdiag.files import writing


def read_tensors(path: Path, kind: str, keys: Collection[str] = (), *, mapped: bool = False) -> dict[str, Any]:
    """Read what `write_tensors` wrote, onto the CPU. Nothing that the file holds is run.

    kind: what the file should be, in words. keys: what it has to hold. mapped: tensors stay in the file until they are
    looked at.

    Raises OptionError where it is not there, or is something else.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch, pickle and zip have errors of their own for a file of another kind
        raise OptionError(f"{path} is no {kind}: {error}", code="unreadable-file") from error
    missing = [key for key in keys if not isinstance(found, dict) or key not in found]
    if missing:
        raise OptionError(f"{path} is no {kind}: it lacks {', '.join(missing)}.", code="unreadable-file")
    contents: dict[str, Any] = found
    return contents


def write_tensors(path: Path, contents: Mapping[str, Any], advice: str) -> None:
    """Write the file whole, or leave the one before. Raises OptionError, which ends with the advice."""
    with writing(path, advice) as draft:
        torch.save(contents, draft)
