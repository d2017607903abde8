"""Files that are there whole or not at all.

May import: errors.
"""

import os
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from qdiag.errors import OptionError, QdiagWarning

DAY = 24 * 60 * 60


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A draft to write in place of the file, which it becomes at the end.

    A reader, a full disk, a kill or a power cut at any moment leaves the file before, or the new one; never half of it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        yield draft
        _reach_the_disk(draft)
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


@final
class FilesTogether:
    """Files of one folder that belong together: drafts until the end, then all of them in place.

    One of them may be the last: whoever reads the folder starts with it. It is gone before any other is replaced and
    comes after all of them, so that a kill between two leaves no folder that is half of before and can be read.

        with FilesTogether(folder, "Name a folder that you may write to.") as files:
            files.write("network.txt", "...")
            files.write("settings.txt", "...", last=True)

    What the disk refuses is an OptionError that ends with the advice. Drafts that a killed process left are removed
    when they are a day old.
    """

    def __init__(self, folder: Path, advice: str):
        self.folder, self.advice = folder, advice
        self._drafts = folder / f".qdiag.{os.getpid()}.{threading.get_ident()}.tmp"
        self._last: str | None = None

    def draft(self, name: str) -> Path:
        """Where to write a file until then."""
        return self._drafts / name

    def write(self, name: str, text: str, *, last: bool = False) -> None:
        """A file of text."""
        with write_errors(self.folder / name, self.advice):
            self.draft(name).write_text(text, encoding="utf-8")
        self._last = name if last else self._last

    def __enter__(self) -> "FilesTogether":
        with write_errors(self.folder, self.advice):
            for left in self.folder.glob(".qdiag.*.tmp"):
                if time.time() - left.stat().st_mtime > DAY:
                    shutil.rmtree(left, ignore_errors=True)
            self._drafts.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                with write_errors(self.folder, self.advice):
                    self._put_in_place()
        finally:
            shutil.rmtree(self._drafts, ignore_errors=True)

    def _put_in_place(self) -> None:
        names = sorted((path.name for path in self._drafts.iterdir()), key=lambda name: name == self._last)
        for name in names:
            _reach_the_disk(self.draft(name))
        if self._last is not None:
            (self.folder / self._last).unlink(missing_ok=True)
        for name in names:
            self.draft(name).replace(self.folder / name)


def _reach_the_disk(path: Path) -> None:
    """A file's contents, before its name: else a power cut could leave the name of what was never written."""
    with path.open("rb+") as written:
        os.fsync(written.fileno())


def remove_drafts(path: Path) -> None:
    """Those of this file that killed processes have left."""
    for draft in path.parent.glob(f".{path.name}.*.tmp"):
        draft.unlink(missing_ok=True)
