"""What a folder of dumped tensors holds, whatever their format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from qdiag.numerics.qtype import QType

Array = np.ndarray[Any, Any]
ProblemKind = Literal["missing", "unmatched", "mis-sized", "wrong type", "another scale", "twice", "unreadable"]


@dataclass(frozen=True)
class DumpProblem:
    """Why a tensor was not compared. name: a file, or the address of a stored tensor."""

    kind: ProblemKind
    name: str
    text: str


def regular_files(folder: Path) -> list[Path]:
    """The folder's files by name; a pipe or a device, which would be waited for, is none."""
    return sorted(path for path in folder.iterdir() if path.is_file())


class UnfitTensor(Exception):
    """A dumped tensor that is not what the simulation stores; becomes a `DumpProblem`."""

    def __init__(self, kind: ProblemKind, text: str):
        super().__init__(text)
        self.kind: ProblemKind = kind
        self.text = text


@dataclass(frozen=True)
class DumpedTensor:
    """One tensor of a dump, read when it is needed.

    name: as the device calls it: an address, or a tensor of the ONNX file. file: where it is, for messages. shape: as
    the file says, so that one of another size is never read.
    is_integer: integers of the stored format, or floats. load: the values; given the integers that are stored here, as
    a file need not say whether its numbers are signed. Raises UnfitTensor.
    """

    name: str
    file: str
    shape: tuple[int, ...]
    is_integer: bool
    load: Callable[[QType], Array]


@dataclass(frozen=True)
class Dump:
    """Every tensor of a folder in one format, and what of the folder could not be used."""

    tensors: tuple[DumpedTensor, ...] = ()
    problems: tuple[DumpProblem, ...] = ()
