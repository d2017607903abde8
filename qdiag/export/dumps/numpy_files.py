"""Tensors as NumPy writes them: one .npy file for each, or all in an .npz."""

import functools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qdiag.export.dumps.dump import Array, Dump, DumpedTensor, DumpProblem, UnfitTensor
from qdiag.numerics.qtype import QType


def read_numpy_files(folder: Path) -> Dump:
    """Every .npy by its file name, and every array of every .npz by its key: integers or floats, of any width."""
    tensors: list[DumpedTensor] = []
    problems: list[DumpProblem] = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".npy", ".npz"):
            continue
        try:
            for name, dtype in _contents(path):
                file = path.name if path.suffix == ".npy" else f"{path.name}: {name}"
                if dtype.kind not in "iuf":
                    text = f"holds {dtype}, which is neither whole numbers nor floats"
                    problems.append(DumpProblem("wrong type", file, text))
                    continue
                load = functools.partial(_load, path, name)
                tensors.append(DumpedTensor(name, file, dtype.kind in "iu", load))
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            problems.append(DumpProblem("unreadable", path.name, f"is no file of NumPy's: {error}"))
    return Dump(tuple(tensors), tuple(problems))


def _contents(path: Path) -> Iterator[tuple[str, np.dtype]]:
    if path.suffix == ".npy":
        yield path.stem, np.load(path, mmap_mode="r", allow_pickle=False).dtype
        return
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            yield name, archive[name].dtype


def _load(path: Path, name: str, stored: QType) -> Array:
    if path.suffix == ".npy":
        values: Array = np.load(path, allow_pickle=False)
    else:
        with np.load(path, allow_pickle=False) as archive:
            values = archive[name]
    if values.dtype.kind != "f" and values.size and not (stored.qmin <= values.min() and values.max() <= stored.qmax):
        raise UnfitTensor(
            "wrong type",
            f"holds {values.min()} … {values.max()} ({values.dtype}), and the simulation stores {stored} here",
        )
    return values
