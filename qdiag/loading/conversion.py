"""What a converter of one operator is given, and what it gives back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.loading.onnx_graph import Node, OnnxGraph
from qdiag.loading.sizes import Values


@dataclass(frozen=True)
class Ref:
    """A tensor, or numbers, by the file's name."""

    name: str


@dataclass
class Step:
    """One module of the network, and what it is called with: `Ref` for what is computed, all else as it stands.

    outputs: the file's names of what it returns. name: the address it is to have.
    """

    name: str
    node: Node
    module: nn.Module
    args: tuple[Any, ...]
    outputs: tuple[str, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What the step computes from these values, by the file's names."""
        args, kwargs = [values[a.name] if isinstance(a, Ref) else a for a in self.args], self.kwargs
        result = self.module(*args, **kwargs)
        if len(self.outputs) == 1:
            return {self.outputs[0]: result}
        return {name: value for name, value in zip(self.outputs, result, strict=True) if name}


class Operands:
    """The inputs and attributes of one node, as its converter asks for them.

    values: what every tensor holds on the example, so that shapes and ranks are known. Steps that a converter adds
    before its own come out in `steps`.
    """

    def __init__(self, graph: OnnxGraph, node: Node, values: Mapping[str, Any], owned: dict[str, nn.Parameter]):
        self.graph, self.node, self.values, self.owned = graph, node, values, owned
        self.steps: list[Step] = []

    @property
    def opset(self) -> int:
        return self.graph.opset

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def __len__(self) -> int:
        return len(self.node.inputs)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(name, default)

    def refuse(self, why: str, instead: str = "") -> NoReturn:
        """Raises ModelError that names the node."""
        instead = instead or "Export the network without it, or cut the file before that node"
        raise ModelError(
            f"{self.graph.file.name} cannot be loaded: {self.node} (opset {self.opset}) {why}. {instead}.",
            code="not-loadable",
        )

    # Inputs ---------------------------------------------------------------------------------------------

    def constant(self, index: int) -> Tensor | None:
        """The values of an input that is the same for all images; None where it is computed, or left out."""
        return self.graph.constants.get(self.node.inputs[index]) if self.has(index) else None

    def tensor(self, index: int = 0) -> Ref:
        """An input that the module is to be called with, as a tensor."""
        name = self.node.inputs[index]
        value = self.values.get(name)
        if isinstance(value, Values):
            return self.numbers_as_tensor(name, value)
        return Ref(name)

    def numbers_as_tensor(self, name: str, value: Values) -> Ref:
        from qdiag.loading.modules import AsTensor

        floats = any(isinstance(item, float) for item in value.reshape(-1))
        return self.before(AsTensor(torch.float32 if floats else torch.int64), Ref(name), suffix="tensor")

    def numbers_as_constant(self, values: Sequence[int]) -> Ref:
        """Whole numbers as a constant tensor of the network, as places along an axis."""
        name = f"{self.node.output}_places_{len(self.graph.constants)}"
        self.graph.constants[name] = torch.tensor(list(values))
        return Ref(name)

    def operand(self, index: int) -> Ref | float:
        """An input of arithmetic: a number where it is a single constant, as engines hold it."""
        value = self.constant(index)
        if value is None or value.numel() != 1 or value.ndim > 4:
            return self.tensor(index)
        number: float = value.item()
        return number

    def numbers(self, index: int, name: str = "") -> list[Any] | Ref | None:
        """Lengths or axes: an attribute of this name, else an input. None where the file gives neither.

        Raises ModelError where they follow from the values of a tensor.
        """
        if name and name in self.node.attributes:
            found = self.node.attributes[name]
            return list(found) if isinstance(found, Sequence) else [found]
        if not self.has(index):
            return None
        constant = self.constant(index)
        if constant is not None:
            return list(constant.reshape(-1).tolist())
        if not isinstance(self.values[self.node.inputs[index]], Values):
            self.refuse("takes lengths that are computed from the values of a tensor")
        return Ref(self.node.inputs[index])

    def known(self, index: int, name: str = "") -> list[Any] | None:
        """As `numbers`, where they have to be the same for all images."""
        found = self.numbers(index, name)
        if isinstance(found, Ref):
            return list(self.values[found.name].reshape(-1))
        return found

    def parameter(self, index: int) -> nn.Parameter | None:
        """A constant as a module's own parameter; one for all the nodes that read it."""
        value = self.constant(index)
        if value is None:
            return None
        name = self.node.inputs[index]
        return self.owned.setdefault(name, nn.Parameter(value))

    def shape(self, index: int = 0) -> list[int]:
        """The shape of an input on the example."""
        return list(self.example(index).shape)

    def example(self, index: int = 0) -> Any:
        name = self.node.inputs[index]
        return self.graph.constants[name] if name in self.graph.constants else self.values[name]

    def rank(self, index: int = 0) -> int:
        return len(self.shape(index))

    # Steps ----------------------------------------------------------------------------------------------

    def before(self, module: nn.Module, *args: Any, suffix: str) -> Ref:
        """A step before the node's own; its result."""
        name = f"{self.node.output}_{suffix}"
        while any(step.name == name for step in self.steps):
            name += "_"
        self.steps.append(Step(name, self.node, module, args, (name,)))
        return Ref(name)

    def step(self, module: nn.Module, *args: Any, **kwargs: Any) -> Step:
        """The node's own step."""
        return Step(self.node.output, self.node, module, args, self.node.outputs, kwargs)


Converter = Callable[[Operands], Step]
