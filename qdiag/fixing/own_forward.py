"""A module's own forward as a graph, in which its children are single calls."""

import copy
import inspect
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.operator_schemas import normalize_function

from qdiag.fixing.observed import Seen
from qdiag.fixing.unmendable import Unmendable
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.operations import bind, canonical

FOLLOWS_MODE = "follows_mode"
"""Marks a dropout that is told whether the module is training, as nn.Dropout knows by itself."""

SHAPE = "shape_and_dtype"
"""Where a node keeps those of its result."""


class _OwnForward(fx.Tracer):
    """Goes into no child, and writes down the user's line of every operation."""

    record_stack_traces = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def own_graph(module: nn.Module) -> fx.Graph:
    """The forward of one module as it runs in eval mode; a dropout that heeds the mode is marked `FOLLOWS_MODE`.

    Raises:
        Unmendable: Where the forward cannot be recorded, as it decides by values or sizes of its tensors; and where it
            does another thing in training than in eval mode.

    >>> own_graph(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())).python_code("self").src.count("self.")
    0
    """
    if isinstance(module, fx.GraphModule):
        return copy.deepcopy(module.graph)
    training, graph = _recorded(module, True), _recorded(module, False)
    for one, other in zip(training.nodes, graph.nodes, strict=False):
        if _heeds_mode(one, other):
            other.meta[FOLLOWS_MODE] = True
            one.args, one.kwargs = _as_in(training, other)
    if _text(training) != _text(graph):
        raise Unmendable("it does another thing in training than in eval mode")
    return graph


def op_of(node: fx.Node) -> str:
    """The operation's canonical name; "" for what calls no function."""
    if node.op == "call_method":
        return canonical(str(node.target))
    return canonical(getattr(node.target, "__name__", "")) if node.op == "call_function" else ""


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """What the operation was given, by name; a position that no signature is known of is "arg1" …."""
    named = bind(op_of(node), node.args, dict(node.kwargs))
    if node.op == "call_function" and any(name.startswith("arg") for name in named):
        found = normalize_function(node.target, node.args, node.kwargs, normalize_to_only_use_kwargs=True)  # type: ignore[arg-type]
        return named if found is None else dict(found.kwargs)
    return named


def _heeds_mode(training: fx.Node, other: fx.Node) -> bool:
    op = op_of(other)
    if "dropout" not in op or op != op_of(training):
        return False
    return arguments_of(training).get("training") is True and arguments_of(other).get("training") is False


def _as_in(graph: fx.Graph, node: fx.Node) -> tuple[Any, Any]:
    """Another graph's arguments, with the nodes of the same names of this one."""
    own = {one.name: one for one in graph.nodes}
    return fx.map_arg((node.args, dict(node.kwargs)), lambda one: own.get(one.name, one))


def _recorded(module: nn.Module, is_training: bool) -> fx.Graph:
    modes = [(one, one.training) for one in module.modules()]
    try:
        module.train(is_training)
        return _OwnForward().trace(module)
    except Exception as error:  # whatever the user's forward raises on what is no tensor
        raise Unmendable(
            f"it decides by values or sizes of its tensors, or goes into what cannot be recorded: {_first(error)}"
        ) from error
    finally:
        for one, mode in modes:
            one.training = mode


def _text(graph: fx.Graph) -> str:
    return graph.python_code("self").src


def _first(error: Exception) -> str:
    """One line of it."""
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__


def with_graph(module: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """A module that holds the same children, tensors, attributes and hooks, and runs this graph.

    Args:
        module: With the graph's new modules among its children.
        graph: The new forward.
    """
    made = fx.GraphModule(module, graph, class_name=type(module).__name__)
    for name, value in vars(module).items():
        if name not in vars(made) or name in _STATE or name.endswith("_hooks"):
            vars(made)[name] = value
    return made


_STATE = ("training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")


class _Shapes(fx.Interpreter):
    """Writes shape and dtype of every result to its node."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta[SHAPE] = result.shape, result.dtype
        return result

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return tuple(map(_unfrozen, args)), {name: _unfrozen(value) for name, value in kwargs.items()}


def _unfrozen(value: Any) -> Any:
    """With lists that can be written to, as the generated forward passes them; a node's own cannot."""
    return list(map(_unfrozen, value)) if isinstance(value, list) else value


def know_shapes(module: nn.Module, graph: fx.Graph, seen: Seen) -> None:
    """Write shape and dtype of its result to every node's `meta[SHAPE]`.

    Args:
        module: Whose forward it is.
        graph: Of its own forward.
        seen: One call of the module.

    Raises:
        Unmendable: Where the graph does not run on what the module was given.
    """
    args, kwargs = seen.copies()
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    given = [bound.arguments.get(str(node.target).strip("*")) for node in graph.find_nodes(op="placeholder")]
    whole = with_graph(module, graph)
    try:
        with borrow(whole):
            _Shapes(whole).run(*given)
    except Exception as error:  # what the user's operations raise on other values than they saw
        raise Unmendable(f"its recorded forward does not run: {_first(error)}") from error
