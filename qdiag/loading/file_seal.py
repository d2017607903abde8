"""The digest of its own contents that an exported ONNX file carries, so that a flipped bit shows."""

import warnings
from pathlib import Path
from typing import Any

from xxhash import xxh3_128

from qdiag.errors import QdiagWarning

SEAL = "qdiag.contents"
"""The entry of a file's metadata."""


def contents_of_file(proto: Any) -> str:
    """Digest of an onnx ModelProto's constants and operators, with the tensors that these read and write.

    Remarks, shapes of inner tensors and the version of the format are no part of it.
    """
    from onnx import numpy_helper

    seen = xxh3_128()
    for tensor in sorted(proto.graph.initializer, key=lambda tensor: str(tensor.name)):
        seen.update(f"constant {tensor.name!r} {tensor.data_type} {list(tensor.dims)};".encode())
        seen.update(numpy_helper.to_array(tensor).tobytes())
    for node in proto.graph.node:
        seen.update(f"node {node.domain!r} {node.op_type!r} {list(node.input)} {list(node.output)};".encode())
        for attribute in sorted(node.attribute, key=lambda attribute: str(attribute.name)):
            seen.update(attribute.SerializeToString(deterministic=True))
    return seen.hexdigest()


def seal(proto: Any) -> None:
    """Let an onnx ModelProto that carries a digest carry that of what it holds now."""
    for entry in proto.metadata_props:
        if entry.key == SEAL:
            entry.value = contents_of_file(proto)


def warn_if_changed(proto: Any, path: Path) -> None:
    """Of a file that carries a digest of other contents than an onnx ModelProto's."""
    sealed = [entry.value for entry in proto.metadata_props if entry.key == SEAL]
    if sealed and sealed != [contents_of_file(proto)]:
        warnings.warn(
            f"{path} does not hold what export_onnx wrote there: it is damaged, or another program changed it. "
            "Export it again, or copy it anew.",
            QdiagWarning,
            stacklevel=2,
        )
