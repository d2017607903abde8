"""ONNX Runtime as the device: it runs an exported file of integers, and leaves its tensors as a target would."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from qdiag.export.exported_model import ExportedModel
from qdiag.export.integer_runtime import IntegerRuntime

Array = np.ndarray[Any, Any]
Write = Callable[[Mapping[str, Array], Mapping[str, int], Path], None]


def integers_of(exported: ExportedModel, images: Tensor) -> dict[str, Array]:
    """Every stored tensor of a file of style "qdq", by its name in the file, as the runtime's kernels computed it."""
    found = IntegerRuntime(exported.path, exported.names.values()).run([images])
    return {name: found[name] for name in exported.names.values()}


def dtype_of(name: str) -> str:
    """A tensor of integers ends in its type: "conv uint8"."""
    return name.rsplit(" ", 1)[1]


def write_npy(integers: Mapping[str, Array], exponents: Mapping[str, int], folder: Path) -> None:
    for name, values in integers.items():
        np.save(folder / f"{name}.npy", values.astype(dtype_of(name)))


def write_npz(integers: Mapping[str, Array], exponents: Mapping[str, int], folder: Path) -> None:
    """Floats, by address."""
    floats = {name.rsplit(" ", 1)[0]: values * np.float32(2.0 ** exponents[name]) for name, values in integers.items()}
    np.savez(folder / "dump.npz", **floats)  # type: ignore[arg-type]


def write_traces(integers: Mapping[str, Array], exponents: Mapping[str, int], folder: Path) -> None:
    """As TIDL does at debug_level 4: data ids that are not the layers' own, integers and floats, and layer_info.txt."""
    lines = []
    for number, (name, values) in enumerate(integers.items()):
        lines.append(f"{number} {number + 40} {name.rsplit(' ', 1)[0]} \n")
        batch, channels, height, width = (1, 1, 1, 1, *values.shape)[-4:]
        stem = f"tidl_trace{number + 40:04}_{batch:05}_{channels:05}_{width:05}x{height:05}"
        values.astype(dtype_of(name)).tofile(folder / f"{stem}.y")
        (values * np.float32(2.0 ** exponents[name])).astype(np.float32).tofile(folder / f"{stem}_float.bin")
    (folder / "subgraph_0_tidl_net.bin.layer_info.txt").write_text("".join(lines))


def write_later_traces(integers: Mapping[str, Array], exponents: Mapping[str, int], folder: Path) -> None:
    """As later versions do at debug_level 3: the network's name, two more dimensions, integers alone."""
    write_traces(integers, exponents, folder)
    for path in list(folder.glob("tidl_trace*")):
        number, batch, *rest = path.name.removeprefix("tidl_trace").split("_")
        if path.name.endswith(".y"):
            path.rename(folder / f"tidl_trace_subgraph_0_{number}_{batch}_00001_00001_{'_'.join(rest)}")
        else:
            path.unlink()


WRITERS: dict[str, Write] = {
    "npy": write_npy,
    "npz": write_npz,
    "traces": write_traces,
    "later traces": write_later_traces,
}
