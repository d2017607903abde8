"""What `torch.export` recorded, as a module under the names of the modules it was made from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from qdiag.errors import InputError, ModelError
from qdiag.loading.addresses import Addresses
from qdiag.loading.aten import layer, overload
from qdiag.loading.batch_size import FixedBatch, follow_batch
from qdiag.tensor_files import check_file
from qdiag.tracing.source import Source, recorded_source

TITLE = "exported program"
HALF = (torch.float16, torch.bfloat16)
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
"""Operators whose state holds the number of images; torch's kernels do not check it."""


def read_program(path: Path) -> torch.export.ExportedProgram:
    """Raises InputError for what is no readable exported program, or is damaged."""
    if not path.is_file():
        raise InputError(f"there is no file {path}.", code="no-file")
    try:
        check_file(path)
        return torch.export.load(path)
    except InputError:
        raise
    except Exception as error:  # what torch raises here has no common class
        raise InputError(
            f"{path} cannot be read as an exported program, which torch.export.save writes: {error}. A file of weights "
            "does not hold the network: build that in Python, as file.py:function, and give this file as weights.",
            code="unreadable-file",
        ) from error


def program_model(source: Any, example: Any = None) -> nn.Module:
    """The network of an exported program, or of its module; it takes and returns what the program does.

    example: what it is called with; by default what it was exported with, where the program says so.

    Raises ModelError for what cannot be taken.
    """
    program = source if isinstance(source, fx.GraphModule) else source.module()
    model = _Translation(program).finished()
    inputs = _example(source, example)
    if any(tensor.dtype in HALF for tensor in (*model.parameters(), *model.buffers())):
        model = model.float()  # fixed point is judged against float32
        inputs = inputs and tuple(_in_float32(value) for value in inputs)
    if inputs is not None:
        _follow_batch(model, inputs)
    return model


class _Translation:
    """Goes through the program's graph, and puts a module in the place of each operation."""

    def __init__(self, program: fx.GraphModule):
        self.program = program
        self.graph = fx.Graph()
        self.addresses = Addresses()
        self.modules: dict[str, nn.Module] = {}
        self.owned: dict[str, Any] = {}
        self.made: dict[fx.Node, Any] = {}
        scopes = [_scope(node) for node in program.graph.nodes if node.op == "call_function"]
        self.scopes = Counter(key for key, _ in scopes)
        self.parents = {path[:end] for _, path in scopes for end, sign in enumerate(path) if sign == "."}
        for node in program.graph.nodes:
            self._take(node)

    def finished(self) -> nn.Module:
        self.graph.set_codegen(self.program.graph._codegen)
        return fx.GraphModule(self.addresses.root, self.graph, "ExportedProgram").eval()

    def _take(self, node: fx.Node) -> None:
        name = str(node.target)
        if any(part in name for part in ("_guards", "_assert_", "sym_constrain")):
            return
        if node.op == "call_module" or isinstance(node.target, torch._ops.HigherOrderOperator):
            raise ModelError(
                f"the exported program holds {node.name!r} ({name}), a part with a graph of its own. Export the "
                "network in eval mode, and without torch.no_grad() or autocast inside its forward.",
                code="not-loadable",
            )
        if name.split(".")[:1] == ["aten"] and name.split(".")[1] in RECURRENT:
            raise ModelError(
                f"the exported program holds {node.name!r} ({name}), a recurrent layer, which is not simulated. Export "
                "the network without it.",
                code="not-loadable",
            )
        if node.op == "get_attr":
            return  # put in where it is first read
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload) and _is_tensor(node):
            self.made[node] = self._layer(node)
        else:
            self.made[node] = self.graph.node_copy(node, self._value)

    def _layer(self, node: fx.Node) -> fx.Node:
        found = layer(node, self._tensor)
        module, args, kwargs = found if found is not None else (overload(node.target), node.args, node.kwargs)
        address = self._address(node, module)
        taken = fx.node.map_arg((args, kwargs), self._value)
        made = self.graph.call_module(address, *taken)
        made.meta = dict(node.meta)
        return made

    def _address(self, node: fx.Node, module: nn.Module) -> str:
        """The path of the user's own module where it is this one operation, else the operation's name behind it."""
        key, path = _scope(node)
        alone = path and self.scopes[key] == 1
        name = path if alone and path not in self.parents else f"{path}.{node.name}".lstrip(".")
        known = self.modules.get(name)
        if known is not None and repr(known) == repr(module):
            return name  # the user's module, called once more
        module.source = recorded_source(node) or Source(TITLE, 0, node.name)  # type: ignore[assignment]
        address = self.addresses.module(name, module)
        self.modules[address] = module
        return address

    def _value(self, node: fx.Node) -> fx.Node:
        if node.op == "get_attr" and node not in self.made:
            tensor = self._tensor(node)
            is_parameter = isinstance(tensor, nn.Parameter) and tensor.requires_grad
            held = tensor if is_parameter else nn.Parameter(tensor.detach(), requires_grad=False)
            self.made[node] = self.graph.get_attr(self.addresses.tensor(str(node.target), held))
        return self.made[node]

    def _tensor(self, node: Any) -> Any:
        """The tensor that a node stands for, if it is the program's own; one object for each name."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        target = str(node.target)
        if target not in self.owned:
            holder, _, last = target.rpartition(".")
            self.owned[target] = getattr(self.program.get_submodule(holder), last)
        return self.owned[target]


def _is_tensor(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return value is None or isinstance(value, (Tensor, list, tuple))


def _scope(node: fx.Node) -> tuple[str, str]:
    """The innermost of the user's modules that called the operation: a key for each call of it, and its path."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return "", ""
    key = next(reversed(stack))
    return key, stack[key][0]


def _example(source: Any, given: Any) -> tuple[Any, ...] | None:
    if given is not None:
        return given if isinstance(given, tuple) else (given,)
    inputs = getattr(source, "example_inputs", None)
    return tuple(inputs[0]) if inputs and not inputs[1] else None


def _in_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in HALF else value


def _follow_batch(model: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Run twice as many images through, and mend what holds their number."""
    tensors = [value for value in inputs if isinstance(value, Tensor) and value.ndim]
    if len(tensors) != len(inputs) or len({len(tensor) for tensor in tensors}) != 1:
        return
    images = len(tensors[0])
    with torch.no_grad():
        before = _Values(model).all(inputs)
        now = _Values(model, before, images)
        try:
            now.all(tuple(torch.cat([tensor, tensor.flip(0)]) for tensor in tensors))
        except Exception as error:  # noqa: BLE001 - torch's word for shapes that do not fit
            _fix_batch(model, images, now.at, error)


def _fix_batch(model: nn.Module, images: int, where: str, error: Exception) -> None:
    """Let one image through at a time. Raises ModelError for a program of several: what is measured takes parts."""
    why = f"the exported program holds that number, at {where!r}"
    if images > 1:
        raise ModelError(
            f"{why}: {images}. Export it for one image, or for any number: torch.export.export(model, (images,), "
            "dynamic_shapes=({0: torch.export.Dim.AUTO},)).",
            code="not-loadable",
        ) from error
    assert isinstance(model, fx.GraphModule), "made so"
    given = next(node for node in model.graph.nodes if node.op == "placeholder")
    address = f"{given.name}_batch"
    model.add_module(address, FixedBatch(images, why))
    with model.graph.inserting_after(given):
        held = model.graph.call_module(address, (given,))
    given.replace_all_uses_with(held, delete_user_cb=lambda user: user is not held)
    model.recompile()


class _Values(fx.Interpreter):
    """Runs the graph and keeps every value; beside the values `before`, lets each module follow the batch first."""

    def __init__(self, model: Any, before: Mapping[fx.Node, Any] | None = None, images: int = 1):
        super().__init__(model, garbage_collect_values=False)
        self.model, self.before, self.images = model, before, images
        self.kept: dict[fx.Node, Any] = {}
        self.at = ""

    def all(self, inputs: Sequence[Any]) -> dict[fx.Node, Any]:
        self.run(*inputs, enable_io_processing=False)
        return self.kept

    def run_node(self, n: fx.Node) -> Any:
        self.at = n.name
        if self.before is not None and n.op == "call_module":
            given = [arg for arg in n.args if isinstance(arg, fx.Node)]
            module = self.model.get_submodule(str(n.target))
            before, now = ([values[arg] for arg in given] for values in (self.before, self.kept))
            follow_batch(module, n.args, before, now, self.images)
        self.kept[n] = super().run_node(n)
        return self.kept[n]
