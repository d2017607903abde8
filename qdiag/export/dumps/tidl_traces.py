"""Traces of TIDL: one file for each layer, and a table of what the layers are called."""

import functools
import math
import re
from pathlib import Path

import numpy as np

from qdiag.export.dumps.dump import Array, Dump, DumpedTensor, DumpProblem, UnfitTensor, regular_files
from qdiag.numerics.qtype import QType

TRACE = re.compile(
    r"(?P<core>C7x_\d+_)?tidl_trace(?:_(?P<network>.+?)_)?_?(?P<id>\d{4,})_(?P<dims>(?:\d+_){2}|(?:\d+_){4})"
    r"(?P<width>\d+)x(?P<height>\d+)(?P<kind>\.y|_float\.bin)",
    re.IGNORECASE,
)
INFO = "*layer_info.txt"


def read_tidl_traces(folder: Path) -> Dump:
    """The traces that debug_level 3 (integers) and 4 (floats too) leave, with the layer_info.txt copied beside them.

    TexasInstruments/edgeai-tidl-tools, docs/tidl_osr_debug.md: a name is tidl_traceAAAA_BBBBB_CCCCC_DDDDDxEEEEE.y with
    data id, batch, channels, width and height; later versions put the network's name before the data id, and two more
    dimensions before the channels. Values are integers of 8 or 16 bits (.y), or float32 (_float.bin). A line of
    layer_info.txt is layer id, data id, name in the original model. Values are taken to be little-endian, one after the
    other, width fastest, without the padding that the device's own memory has: the document does not say it in words,
    and the target's tools were not at hand.
    """
    found = [(path, match) for path in regular_files(folder) if (match := TRACE.fullmatch(path.name))]
    if not found:
        return Dump()
    names, problems = _layer_names(folder)
    tensors: list[DumpedTensor] = []
    for path, match in found:
        network, number = match["network"] or "", int(match["id"])
        name = names.get((network, number), names.get(("", number)))
        if match["core"]:
            text = "one core's part of a layer: stitch the traces of all cores first (stitch_multicore_traces.py)"
            problems.append(DumpProblem("unmatched", path.name, text))
        elif name is None:
            text = f"no {INFO} here names data id {number}: copy the one of the compiled artifacts' tempDir here"
            problems.append(DumpProblem("unmatched", path.name, text))
        else:
            dims = [int(dim) for dim in match["dims"].split("_") if dim]
            shape = (*dims, int(match["height"]), int(match["width"]))
            is_integer = match["kind"].lower() == ".y"
            load = functools.partial(_integers if is_integer else _floats, path, shape)
            tensors.append(DumpedTensor(name, path.name, shape, is_integer, load))
    return Dump(tuple(tensors), tuple(problems))


def _layer_names(folder: Path) -> tuple[dict[tuple[str, int], str], list[DumpProblem]]:
    """By network and data id; the network is "" where there is one table for all."""
    names: dict[tuple[str, int], str] = {}
    problems = []
    files = [path for path in regular_files(folder) if path.match(INFO)]
    for file in files:
        network = file.name.partition("_tidl_net")[0] if len(files) > 1 else ""
        for line in filter(str.strip, file.read_text(encoding="utf-8", errors="replace").splitlines()):
            parts = line.split(maxsplit=2)
            if len(parts) < 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
                problems.append(
                    DumpProblem("unreadable", file.name, f"not 'layer id, data id, name': {line.strip()!r}")
                )
                continue
            names.setdefault((network, int(parts[1])), parts[2].strip())
    return names, problems


def _integers(path: Path, shape: tuple[int, ...], stored: QType) -> Array:
    count, size = math.prod(shape), path.stat().st_size
    if size not in (count, 2 * count):
        raise UnfitTensor("mis-sized", f"holds {size} bytes, and its name says {count} values of 1 or 2 bytes")
    bits = 8 * size // max(count, 1)
    if bits != stored.bits:
        raise UnfitTensor("wrong type", f"holds {bits}-bit integers, and the simulation stores {stored} here")
    return np.fromfile(path, dtype=f"<{'i' if stored.signed else 'u'}{bits // 8}").reshape(shape)


def _floats(path: Path, shape: tuple[int, ...], stored: QType) -> Array:
    count, size = math.prod(shape), path.stat().st_size
    if size != 4 * count:
        raise UnfitTensor("mis-sized", f"holds {size} bytes, and its name says {count} values of 4 bytes")
    return np.fromfile(path, dtype="<f4").reshape(shape)
