"""Files that are there whole or not at all.

May import: errors.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qdiag.errors import OptionError, QdiagWarning


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A draft to write in place of the file, which it becomes at the end.

    A reader, a full disk, a kill or a power cut at any moment leaves the file before, or the new one; never half of it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield draft
        with draft.open("rb+") as written:
            os.fsync(written.fileno())  # or the name could reach the disk before what it names
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, advice: str) -> Iterator[Path]:
    """`written_whole`; where that fails, an OptionError that ends with the advice."""
    with write_errors(path, advice), written_whole(path) as draft:
        yield draft


@contextmanager
def write_errors(path: Path, advice: str) -> Iterator[None]:
    """What the disk refuses is an OptionError that ends with the advice."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's writer gives a full disk as a RuntimeError
        raise OptionError(f"{path} was not written: {str(error).rstrip('.')}. {advice}", code="cannot-write") from error


@contextmanager
def warned(prefix: str = "") -> Iterator[None]:
    """A file that cannot be written is warned of: the work goes on, and the file before stays."""
    try:
        yield
    except OptionError as error:
        warnings.warn(f"{prefix}{error}", QdiagWarning, stacklevel=3)  # beyond this function, and contextlib's


def remove_drafts(path: Path) -> None:
    """Those of this file that killed processes have left."""
    for draft in path.parent.glob(f".{path.name}.*.tmp"):
        draft.unlink(missing_ok=True)
