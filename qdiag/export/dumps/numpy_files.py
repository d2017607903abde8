"""Tensors as NumPy writes them: one .npy file for each, or all in an .npz."""

import functools
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from qdiag.export.dumps.dump import Array, Dump, DumpedTensor, DumpProblem, UnfitTensor, regular_files
from qdiag.numerics.qtype import QType


def read_numpy_files(folder: Path) -> Dump:
    """Every .npy by its file name, and every array of every .npz by its key: integers or floats, of any width."""
    tensors: list[DumpedTensor] = []
    problems: list[DumpProblem] = []
    for path in regular_files(folder):
        if path.suffix not in (".npy", ".npz"):
            continue
        try:
            for name, dtype, shape in _contents(path):
                file = path.name if path.suffix == ".npy" else f"{path.name}: {name}"
                if dtype.kind not in "iuf":
                    text = f"holds {dtype}, which is neither whole numbers nor floats"
                    problems.append(DumpProblem("wrong type", file, text))
                    continue
                load = functools.partial(_load, path, name)
                tensors.append(DumpedTensor(name, file, shape, dtype.kind in "iu", load))
        except _UNREADABLE as error:
            problems.append(DumpProblem("unreadable", path.name, f"is no file of NumPy's: {error}"))
    return Dump(tuple(tensors), tuple(problems))


_UNREADABLE = (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def _contents(path: Path) -> Iterator[tuple[str, np.dtype, tuple[int, ...]]]:
    """Name, type and shape of each tensor, by the headers alone: nothing is unpacked, whatever size they claim."""
    if path.suffix == ".npy":
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        yield path.stem, values.dtype, values.shape
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as part:
                dtype, shape = _header(part)
                claimed = part.tell() + math.prod(shape) * dtype.itemsize
            if dtype.kind in "iuf" and claimed != member.file_size:
                raise ValueError(f"{member.filename} holds {member.file_size} bytes, and its header says {claimed}")
            yield member.filename.removesuffix(".npy"), dtype, shape


def _header(part: IO[bytes]) -> tuple[np.dtype, tuple[int, ...]]:
    """Raises ValueError for what is no array."""
    is_first = np.lib.format.read_magic(part) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(part)
    return dtype, shape


def _load(path: Path, name: str, stored: QType) -> Array:
    try:
        values = _read(path, name)
    except _UNREADABLE as error:
        raise UnfitTensor("unreadable", f"could not be read from {path.name}: {error}") from error
    if values.dtype.kind != "f" and values.size and not (stored.qmin <= values.min() and values.max() <= stored.qmax):
        raise UnfitTensor(
            "wrong type",
            f"holds {values.min()} … {values.max()} ({values.dtype}), and the simulation stores {stored} here",
        )
    return values


def _read(path: Path, name: str) -> Array:
    if path.suffix == ".npy":
        values: Array = np.load(path, allow_pickle=False)
        return values
    with np.load(path, allow_pickle=False) as archive:
        found: Array = archive[name]
        return found
