"""Which stored tensor a name means that a device uses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdiag.errors import InputError
from qdiag.loading.file_seal import warn_if_changed
from qdiag.quantization.quantized_model import QuantizedModel


@dataclass(frozen=True)
class TensorNames:
    """What a device may call its tensors.

    sites: address of a stored tensor by every name it goes by. inner: other tensors of the ONNX file, which the
    simulation does not store: what only moves values, and what a layer computes on the way.
    """

    sites: Mapping[str, str]
    inner: frozenset[str] = frozenset()


def tensor_names(quantized: QuantizedModel, file: Path | None) -> TensorNames:
    """Names of the simulation, and of an ONNX file that `export_onnx` or `export_target` wrote.

    Raises InputError where the file is no such one.
    """
    sites: dict[str, str] = {}
    for site, qparams in quantized.formats.qparams.items():
        sites |= {str(site): str(site), f"{site} {qparams.qtype}": str(site)}
    if file is None:
        return TensorNames(sites)
    model = _loaded(file)
    sites |= _sites_in(model, file)
    return TensorNames(sites, frozenset(name for node in model.graph.node for name in node.output) - set(sites))


def _sites_in(model: Any, file: Path) -> dict[str, str]:
    known = {entry.key: entry.value for entry in model.metadata_props}
    if "qdiag.names" not in known:
        raise InputError(
            f"{file} was not written by export_onnx, and does not say which tensors are stored.", code="foreign-file"
        )
    sites = {name: site for site, name in json.loads(known["qdiag.names"]).items()}
    given = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in sites:
            sites[node.output[0]] = sites[node.input[0]]
        elif node.output[0] in sites and node.input[0] in given:
            sites[node.input[0]] = sites[node.output[0]]
    return sites


def _loaded(file: Path) -> Any:
    import onnx

    try:
        model = onnx.load(file)
    except Exception as error:  # what onnx raises, protobuf's errors among it, has no common class
        raise InputError(f"{file} cannot be read as an ONNX file: {error}", code="unreadable-file") from error
    warn_if_changed(model, file)
    return model
