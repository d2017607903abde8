"""The layers that a target makes of an exported file, each with the format of what it stores."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qdiag.export.constants import LayerConstants
from qdiag.export.range_file import TargetLayer
from qdiag.planning.layer import Layer
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.site import Site

MOVES_VALUES = {
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Identity"),
    *("Resize", "Pad", "MaxPool", "DepthToSpace", "SpaceToDepth", "Expand"),
}
"""Operators whose output has the format of what they read."""


@dataclass
class FileLayers:
    """What a file in style "clips" holds, front to back.

    layers: tensors with a format: those that the simulation stores, and those that only move values. unlisted: tensors
    that a target stores and a range file cannot tell of: the simulation computes them on the way to another, or the
    target's word for their operator is not known.
    """

    file: Any
    names: Mapping[str, str]
    quantized: QuantizedModel
    constants: Mapping[Site, LayerConstants]
    kind: Callable[[str], str]
    layers: list[TargetLayer] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sites = {name: site for site, name in self.names.items()}
        self._makers = {name: node for node in self.file.graph.node for name in node.output}
        self._carried: dict[str, str] = {}  # tensor -> the site whose format it has
        for node in self.file.graph.node:
            if node.output[0] in self._sites:
                self._add_stored(node)
            elif not self._is_clipped(node):
                self._add_moved(node)

    def _add_stored(self, clip: Any) -> None:
        name, site = clip.output[0], self._sites[clip.output[0]]
        layer = self.quantized.plan.layer(site)
        maker = self._makers.get(clip.input[0])
        if maker is None:  # what the network is given has the same format before its Clip
            self._add(clip.input[0], "data", site)
            self._add(name, clip.op_type, site)
        else:
            self._add(name, "Gemm" if layer.site.op == "linear" else maker.op_type, site, layer)

    def _is_clipped(self, node: Any) -> bool:
        """True for what a Clip stores, which a target computes in one go with it."""
        return any(reader.output[0] in self._sites for reader in self._readers(node.output[0]))

    def _readers(self, name: str) -> Iterator[Any]:
        return (node for node in self.file.graph.node if node.input and node.input[0] == name)

    def _add_moved(self, node: Any) -> None:
        source = next((self._carried[name] for name in node.input if name in self._carried), None)
        if source is None:
            return
        if node.op_type not in MOVES_VALUES:
            self.unlisted += list(node.output)
            return
        for name in node.output:
            self._add(name, node.op_type, source)

    def _add(self, name: str, op_type: str, site: str, layer: Layer | None = None) -> None:
        output = self.quantized.format(site)
        assert output is not None, "a stored tensor has a format"
        self._carried[name] = site
        found = None if layer is None else self.constants.get(layer.site)
        weight, bias = (None, None) if found is None else (found.weight_qparams, found.bias)
        kind = self.kind(op_type)
        if not kind:
            self.unlisted.append(name)
        self.layers.append(TargetLayer(name, kind, site, output, weight, bias))
