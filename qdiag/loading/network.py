"""Steps put together into a module."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import fx, nn

from qdiag.loading.addresses import Addresses
from qdiag.loading.batch_size import FixedBatch
from qdiag.loading.conversion import Ref, Step
from qdiag.loading.onnx_graph import Node, OnnxGraph
from qdiag.loading.origin import ORIGIN, Origin, nodes_with_weights
from qdiag.numerics.given_format import GIVEN, GivenFormat


def network(
    graph: OnnxGraph, steps: Iterable[Step], owned: Mapping[str, nn.Parameter], fixed_batch: str = ""
) -> fx.GraphModule:
    """One module that takes what the file's network takes, under the file's names, and returns what it returns.

    One result comes as a tensor, several as a dict by the file's names. fixed_batch: why no other number of images than
    the file's goes through, if it does not.
    """
    builder = _Builder(graph, owned)
    if fixed_batch:
        builder.fix_batch(fixed_batch)
    for step in steps:
        builder.add(step)
    return builder.finished()


class _Builder:
    def __init__(self, graph: OnnxGraph, owned: Mapping[str, nn.Parameter]):
        self.source, self.owned = graph, owned
        self.addresses = Addresses()
        self.graph = fx.Graph()
        self.of_result: dict[str, str] = {}
        self.nodes: list[tuple[str, Node]] = []
        self.made: dict[str, fx.Node] = {
            given.name: self.graph.placeholder(identifier(given.name)) for given in graph.inputs
        }

    def fix_batch(self, why: str) -> None:
        given = self.source.inputs[0]
        module = FixedBatch(given.shape[0] or 1, f"{self.source.file.name} holds that number: {why}")
        address = self.addresses.module(f"{given.name}_batch", module)
        self.made[given.name] = self.graph.call_module(address, (self.made[given.name],))

    def add(self, step: Step) -> None:
        address = self.addresses.module(step.name, step.module)
        self.of_result.update(dict.fromkeys(step.outputs, address))
        self.nodes.append((address, step.node))
        args, kwargs = fx.node.map_aggregate((step.args, step.kwargs), self._value)
        result = self.graph.call_module(address, args, kwargs)
        if len(step.outputs) == 1:
            self.made[step.outputs[0]] = result
            return
        for number, name in enumerate(step.outputs):
            if name:
                self.made[name] = self.graph.call_function(_item, (result, number))

    def _value(self, arg: Any) -> Any:
        return self._node(arg.name) if isinstance(arg, Ref) else arg

    def _node(self, name: str) -> fx.Node:
        """What computes a tensor; a constant becomes a parameter or buffer where it is first read."""
        if name not in self.made:
            self.made[name] = self.graph.get_attr(self.addresses.tensor(name, self._constant(name)))
        return self.made[name]

    def _constant(self, name: str) -> nn.Parameter:
        value = self.source.constants[name]
        trains = name in self.source.parameters and value.numel() > 1
        return self.owned.get(name) or nn.Parameter(value, requires_grad=trains)

    def finished(self) -> fx.GraphModule:
        results = {name: self._node(name) for name in self.source.outputs}
        self.graph.output(next(iter(results.values())) if len(results) == 1 else results)
        title = re.sub(r"\W", "_", self.source.file.stem)
        module = fx.GraphModule(self.addresses.root, self.graph, title if title.isidentifier() else f"Model_{title}")
        module.meta[ORIGIN] = Origin(self.source.file.absolute(), nodes_with_weights(self.nodes))
        if self.source.given.tensors or self.source.given.weights:
            module.meta[GIVEN] = self._given()
        return module.eval()

    def _given(self) -> dict[str, dict[str, GivenFormat | None]]:
        """The file's number formats by address; those of the network's inputs by name, in their order."""
        given, results = self.source.given, self.of_result
        return {
            "inputs": {each.name: given.tensors.get(each.name) for each in self.source.inputs},
            "tensors": {results[name]: kind for name, kind in given.tensors.items() if name in results},
            "weights": {results[name]: kind for name, kind in given.weights.items() if name in results},
        }


def _item(results: Any, number: int) -> torch.Tensor:
    value: torch.Tensor = results[number]
    return value


def identifier(name: str) -> str:
    """A name as Python can write it."""
    plain = re.sub(r"\W", "_", name)
    return plain if plain.isidentifier() else f"input_{plain}"
