"""Files of tensors and plain containers, read and written with errors of ours. All that is read, is checked first.

May import: blocks, contents, detection, files, image_folder, progress, registry and below.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from qdiag.contents import SEAL, is_unchanged, sealed
from qdiag.errors import InputError
from qdiag.files import writing

_PART = 1 << 20
_FOLDER = 0x10
"""The attribute that makes a zip's part a folder: torch reads nothing then, and gives what lay in the memory."""


def read_tensors(path: Path, kind: str, keys: Collection[str] = (), *, mapped: bool = False) -> dict[str, Any]:
    """Read what `write_tensors` wrote, onto the CPU. Nothing that the file holds is run.

    kind: what the file should be, in words. keys: what it has to hold. mapped: tensors stay in the file until they are
    looked at, and are not checked.

    Raises InputError where it is not there, is damaged or was changed by another program, or is something else.
    """
    advice = "Give another file, or delete it to begin anew."
    found = read_file(path, f"is no {kind}", advice, mapped=mapped)
    missing = [key for key in keys if not isinstance(found, dict) or key not in found]
    if missing or not isinstance(found, dict):
        lacks = f"it lacks {', '.join(missing)}" if missing else f"it holds a {type(found).__name__}"
        raise InputError(f"'{path}' is no {kind}: {lacks}. {advice}", code="unreadable-file")
    if not mapped and not is_unchanged(found):
        raise InputError(
            f"'{path}' is damaged: what it holds is not what was written to it. {advice}", code="unreadable-file"
        )
    return {name: value for name, value in found.items() if name != SEAL}


def read_file(
    path: str | os.PathLike[str],
    what: str,
    advice: str,
    *,
    classes: Collection[type] = (),
    mapped: bool = False,
) -> object:
    """What torch wrote to a file, onto the CPU: tensors and plain containers, and objects of the classes.

    what: what to say of a file that cannot be read, as "is no session". advice: what to do then. mapped: as for
    `read_tensors`.

    Raises InputError where the file cannot be read, and where its check sums do not match what it holds.
    """
    try:
        check_file(path, is_skipped=_is_storage if mapped else None)
        with torch.serialization.safe_globals(list(classes)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError:
        raise
    except Exception as error:  # torch, pickle, zip and the system have errors of their own for a file of another kind
        shown = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"'{path}' {what} ({type(error).__name__}{': ' if shown else ''}{shown}). {advice}", code="unreadable-file"
        ) from error


def check_file(path: str | os.PathLike[str], *, is_skipped: Callable[[str], bool] | None = None) -> None:
    """Meet every part of a zip, as torch writes it, with its check sum, which torch does not look at.

    is_skipped: the names of parts that are left out.

    Raises InputError where one does not match, and for a file without check sums, as torch wrote before version 1.6;
    one whose name ends with its SHA-256, as on torch's hub, is met with that. Other errors are those of `zipfile`.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"No file at '{path}'. Check the path; a download has to be made first.", code="no-file")
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "no regular file"
        raise InputError(f"'{path}' is {kind}. Give the path of a file.", code="no-file")
    if not zipfile.is_zipfile(file):
        _check_without_sums(file)
        return
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if is_skipped is None or not is_skipped(member.filename):
                _check_member(archive, member, file)


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    try:
        if member.external_attr & _FOLDER:
            raise zipfile.BadZipFile("a part of the file is said to be a folder")
        with archive.open(member) as part:
            while part.read(_PART):
                pass
    except Exception as error:  # zipfile's word for damage depends on the byte
        raise InputError(
            f"'{path}' is damaged: {member.filename} does not match its check sum. Copy or download it anew; one that "
            "was saved with torch.serialization.set_crc32_options(False) has none, and is to be saved with it.",
            code="unreadable-file",
        ) from error


def _check_without_sums(path: Path) -> None:
    named = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", path.name)
    if named is not None:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest().startswith(named.group(1)):
                return
    raise InputError(
        f"'{path}' cannot be read as a file of tensors: it is cut off, or of another kind. Copy or download it anew. "
        "One that torch wrote before version 1.6 holds no check sums: load it with torch.load yourself, and save it "
        "again with torch.save.",
        code="unreadable-file",
    )


def _is_storage(name: str) -> bool:
    """True for a tensor's numbers, by their name in the zip."""
    return "/data/" in name


def write_tensors(path: Path, contents: Mapping[str, Any], advice: str, *, is_state: bool = False) -> None:
    """Write the file whole, or leave the one before. Raises OptionError, which ends with the advice.

    is_state: it is a module's state_dict, to be loaded as such, and gets no seal beside its tensors.
    """
    with writing(path, advice) as draft:
        torch.save(contents if is_state else sealed(contents), draft)
