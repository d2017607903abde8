"""An ONNX file as a module: every node converted, run, and held against ONNX Runtime."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.errors import InputError, ModelError
from qdiag.loading import reference
from qdiag.loading.batch_size import follow_batch
from qdiag.loading.conversion import Operands, Ref, Step
from qdiag.loading.network import network
from qdiag.loading.onnx_graph import GraphInput, Node, OnnxGraph, read_onnx
from qdiag.loading.operators.table import OPERATORS
from qdiag.loading.plain_runtime import is_installed
from qdiag.loading.rewriting import rewritten
from qdiag.loading.sizes import SIZE_OPERATORS, SizeArithmetic, Values
from qdiag.progress import Progress, Steps
from qdiag.tracing.source import Source

LENGTH = 224
"""Of an axis that the file leaves open, where no example says another."""

_CONTROL_FLOW = (
    "is control flow, and what is simulated has one way",
    "Export in eval mode and for one size of image, or let a simplifier of files (onnxsim) take it out",
)
_RECURRENT = ("is a recurrent layer, which is not simulated",)
UNKNOWN = {
    **dict.fromkeys(("If", "Loop", "Scan"), _CONTROL_FLOW),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
}
"""What is said of operators that are known not to be taken, and what to do."""


def onnx_model(path: Path, example: Any, check: bool | None) -> Steps[nn.Module]:
    """The network of an ONNX file.

    example: what it is called with, by the file's names; missing ones are random. check: hold every node against ONNX
    Runtime, on the example; None for where that is installed.

    Raises InputError or ModelError for what cannot be read, converted, or computes something else.
    """
    graph = read_onnx(path)
    builder = _Builder(graph, _example(graph, example))
    with torch.no_grad():
        builder.fold()
    graph = builder.graph = rewritten(builder.graph)
    if is_installed() if check is None else check:
        yield Progress("running ONNX Runtime", 0, None)
        builder.reference = _reference(graph, builder.inputs)
        for step in builder.folded:
            builder.check(step)
    for progress, node in Progress.over(graph.nodes, "loading"):
        with torch.no_grad():
            builder.convert(node)
        yield progress
    with torch.no_grad():
        fixed = builder.follow_batch()
    return network(graph, builder.steps, builder.owned, fixed)


def _reference(graph: OnnxGraph, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    try:
        return reference.every_tensor(graph, inputs)
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise ModelError(
            f"ONNX Runtime cannot run {graph.file.name}, so that nothing can be held against it: {error}. Give an "
            "example of the size that the network takes (example=…), or load the file unchecked: check=False.",
            code="runtime-refuses",
        ) from error


def _example(graph: OnnxGraph, given: Any) -> dict[str, Tensor]:
    """One image, or as many as the file says, for every input."""
    if isinstance(given, Tensor):
        given = {graph.inputs[0].name: given}
    own: Mapping[str, Tensor] = given or {}
    unknown = [name for name in own if name not in [each.name for each in graph.inputs]]
    if unknown:
        names = ", ".join(each.name for each in graph.inputs)
        raise InputError(
            f"example has {unknown[0]!r}, which {graph.file.name} does not take. It takes: {names}.",
            code="option-value",
        )
    return {each.name: own.get(each.name, _random(each)) for each in graph.inputs}


def _random(given: GraphInput) -> Tensor:
    lengths = [length or (1 if axis == 0 else LENGTH) for axis, length in enumerate(given.shape)]
    generator = torch.Generator().manual_seed(0)
    if given.dtype.is_floating_point:
        return torch.randn(lengths, generator=generator).to(given.dtype)
    if given.dtype == torch.bool:
        return torch.ones(lengths, dtype=torch.bool)
    return torch.randint(0, 2, lengths, generator=generator).to(given.dtype)


class _Builder:
    """Goes through the nodes in order, with the values of all tensors on one example.

    reference: the same values as ONNX Runtime computes them, from which every step is computed anew, so that a
    difference is the step's own.
    """

    def __init__(self, graph: OnnxGraph, inputs: dict[str, Tensor]):
        self.graph, self.inputs = graph, inputs
        self.values: dict[str, Any] = dict(inputs)
        self.reference: dict[str, Tensor] = {}
        self.owned: dict[str, nn.Parameter] = {}
        self.steps: list[Step] = []
        self.folded: list[Step] = []

    def fold(self) -> None:
        """Compute what follows from constants alone, so that layers are found behind it; the other nodes remain."""
        remaining = []
        for node in map(self._typed, self.graph.nodes):
            if all(name in self.graph.constants for name in node.inputs if name):
                for step in self._steps(node):
                    self.graph.constants.update({name: _tensor(value) for name, value in self._run(step).items()})
                    self.folded.append(step)
            else:
                remaining.append(node)
        self.graph = replace(self.graph, nodes=remaining)

    def _typed(self, node: Node) -> Node:
        """A CastLike as a Cast: of the tensor that it is like, nothing but the type counts."""
        if node.op != "CastLike" or node.inputs[1] not in self.graph.types:
            return node
        return Node("Cast", node.name, node.inputs[:1], node.outputs, {"to": self.graph.types[node.inputs[1]]})

    def convert(self, node: Node) -> None:
        """Convert a node, run it, and hold it against the reference."""
        for step in self._steps(node):
            self.values.update(self._run(step))
            self.steps.append(step)
        self.check(step)

    def _steps(self, node: Node) -> list[Step]:
        """What a node becomes, its own step last."""
        operands = Operands(self.graph, node, self.values, self.owned)
        last = self._step(operands)
        for step in (*operands.steps, last):
            step.module.eval()
            step.module.source = Source(str(self.graph.file), 0, str(node))  # type: ignore[assignment]
        return [*operands.steps, last]

    def _step(self, operands: Operands) -> Step:
        node = operands.node
        if self._is_of_sizes(node):
            args = [self._number(name) for name in node.inputs]
            return operands.step(SizeArithmetic(node.op, dict(node.attributes)), *args)
        convert = OPERATORS.get(node.op)
        if convert is None:
            operands.refuse(*UNKNOWN.get(node.op, ("is an operator that qdiag does not know",)))
        return convert(operands)

    def _is_of_sizes(self, node: Node) -> bool:
        """True for arithmetic on lengths, which goes on beside the network."""
        computed = [name for name in node.inputs if name and name not in self.graph.constants]
        are_sizes = all(isinstance(self.values[name], Values) for name in computed)
        return node.op in SIZE_OPERATORS and bool(computed) and are_sizes

    def _number(self, name: str) -> Any:
        return Ref(name) if name not in self.graph.constants else self.graph.constants[name].tolist()

    def _run(self, step: Step) -> dict[str, Any]:
        known = ChainMap(self.values, self.graph.constants)
        try:
            return step.run(known)
        except Exception as error:  # a converter that misread the node; torch's error stays attached
            raise ModelError(
                f"{self.graph.file.name} cannot be loaded: {step.node} (opset {self.graph.opset}) as "
                f"{type(step.module).__name__} raised {type(error).__name__}: {error}. Give an example of the size "
                "that the network takes (example=…); if it is, tell us about this node.",
                code="not-loadable",
            ) from error

    def check(self, step: Step) -> None:
        """Raises ModelError for a step that differs; then goes on with ONNX Runtime's own tensors."""
        for name in step.outputs:
            theirs = self.reference.get(name)
            if theirs is None:
                continue
            ours = _tensor(self.values[name] if name in self.values else self.graph.constants[name])
            gap = reference.difference(ours, theirs)
            if gap > reference.CLOSE:
                raise ModelError(
                    f"{self.graph.file.name}: {step.node} (opset {self.graph.opset}) computes something else here than "
                    f"in ONNX Runtime: tensor {name!r} differs by {gap:.1e} of its largest value "
                    f"({list(ours.shape)} here, {list(theirs.shape)} there). Tell us about this node, or load the file "
                    "as it is with check=False.",
                    code="loaded-differs",
                )
            if name in self.values and not isinstance(self.values[name], Values):
                self.values[name] = theirs

    # Other numbers of images --------------------------------------------------------------------------

    def follow_batch(self) -> str:
        """Let twice as many images through, and mend what holds their number; why it cannot be done, or ""."""
        numbers = {len(tensor) for tensor in self.inputs.values() if tensor.ndim}
        if len(numbers) != 1:
            return ""
        images = numbers.pop()
        other = {name: tensor.flip(-1) for name, tensor in self.inputs.items()}
        both = {name: torch.cat([tensor, other[name]]) for name, tensor in self.inputs.items()}
        first = self._values(self.inputs)
        expected, step = [first, self._values(other)], None
        now = ChainMap(both, self.graph.constants)
        try:
            for step in self.steps:
                pairs = [(first[arg.name], now[arg.name]) for arg in step.args if isinstance(arg, Ref)]
                follow_batch(step.module, step.args, [a for a, _ in pairs], [b for _, b in pairs], images)
                now.update(step.run(now))
        except Exception:  # noqa: BLE001 - torch's word for shapes that do not fit
            return f"{step.node} does not take them" if step is not None else ""
        return "" if self._agree(now, expected, images) else "its results would be others"

    def _values(self, inputs: Mapping[str, Tensor]) -> ChainMap[str, Any]:
        values: ChainMap[str, Any] = ChainMap(dict(inputs), self.graph.constants)
        for step in self.steps:
            values.update(step.run(values))
        return values

    def _agree(self, both: Mapping[str, Any], each: Sequence[Mapping[str, Any]], images: int) -> bool:
        """True where images computed together give what they give by themselves."""
        for name in self.graph.outputs:
            apart = [values[name] for values in each]
            counts_images = apart[0].ndim and len(apart[0]) == images
            if counts_images and reference.difference(both[name], torch.cat(apart)) > reference.CLOSE:
                return False
        return True


def _tensor(value: Any) -> Tensor:
    return torch.tensor(value.tolist()) if isinstance(value, Values) else value
