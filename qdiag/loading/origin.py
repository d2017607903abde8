"""Which file a loaded module comes from, and which of its nodes became which layer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import fx, nn

if TYPE_CHECKING:
    from qdiag.loading.onnx_graph import Node

ORIGIN = "qdiag.origin"
"""Where a loaded module holds it: in `meta`."""

HOLD_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "qdiag.Linear", "BatchNormalization")


@dataclass(frozen=True)
class Origin:
    """An ONNX file, and its nodes with weights by the address of the module that each became."""

    file: Path
    nodes: "Mapping[str, Node]"

    @classmethod
    def of(cls, module: nn.Module) -> "Origin | None":
        """None for a module that comes from no ONNX file."""
        found: Any = module.meta.get(ORIGIN) if isinstance(module, fx.GraphModule) else None
        return found if isinstance(found, Origin) else None


def nodes_with_weights(nodes: "Iterable[tuple[str, Node]]") -> "dict[str, Node]":
    """Of nodes with their addresses those that a repair may change."""
    return {address: node for address, node in nodes if node.op in HOLD_WEIGHTS}
