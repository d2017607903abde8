"""Parts of a tensor that a file takes from a sequence, as the results of one Split."""

from dataclasses import replace

from torch import Tensor

from qdiag.loading.onnx_graph import Node, OnnxGraph


def without_sequences(graph: OnnxGraph) -> OnnxGraph:
    """The same network, each SplitToSequence whose parts are taken one by one a Split.

    So torch's exporter writes `chunk` and `split` where it does not optimize the file. Other sequences stay, and are
    refused where they are converted.
    """
    for node in [node for node in graph.nodes if node.op == "SplitToSequence"]:
        takers = [other for other in graph.nodes if node.output in other.inputs]
        lengths = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        places = [_place(graph, other) for other in takers]
        if lengths is not None and node.output not in graph.outputs and None not in places:
            graph = _exchanged(graph, node, lengths, dict(zip(takers, places, strict=True)))
    return graph


def _place(graph: OnnxGraph, node: Node) -> int | None:
    """Which part a SequenceAt takes; None for whatever else reads the sequence, and for a place that is computed."""
    index = graph.constants.get(node.inputs[1]) if node.op == "SequenceAt" else None
    return None if index is None or int(index) < 0 else int(index)


def _exchanged(graph: OnnxGraph, node: Node, lengths: Tensor, takers: dict[Node, int | None]) -> OnnxGraph:
    """lengths: of each part, or one number for all, the last one having what remains."""
    names: dict[int, str] = {}
    copies = {}
    for other, place in takers.items():
        assert place is not None, "asked before"
        if place in names:  # a part that is taken twice
            copies[other] = replace(other, op="Identity", inputs=(names[place],))
        names.setdefault(place, other.output)
    outputs = tuple(names.get(place, "") for place in range(max(names, default=-1) + 1))
    attributes = {"axis": node.attributes.get("axis", 0), "lengths": lengths.tolist()}
    split = replace(node, op="Split", inputs=node.inputs[:1], outputs=outputs, attributes=attributes)
    nodes = [split if other is node else copies.get(other, other) for other in graph.nodes]
    return replace(graph, nodes=[other for other in nodes if other not in takers])
