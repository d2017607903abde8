"""Functions and operators whose tensor has a range of its own, as modules that keep it."""

from collections.abc import Callable
from typing import Any

from torch import fx, nn

from qdiag.blocks import AddBlock, CatBlock, MulBlock, ResizeWith
from qdiag.errors import OptionError
from qdiag.fixing.edit import Edit, edit_of, new_name, take_place
from qdiag.fixing.own_forward import FOLLOWS_MODE, SHAPE, arguments_of, op_of

Arguments = dict[str, Any]
Made = tuple[nn.Module, tuple[Any, ...]]
"""A module, and what it is called with."""


def with_modules(module: nn.Module, graph: fx.Graph, path: str) -> list[Edit]:
    """Put a module in the place of every function that there is one for; the graph and the module's children change.

    Args:
        module: Whose forward it is.
        graph: Of its own forward, with shapes.
        path: Of the module.
    """
    edits = []
    for node in list(graph.nodes):
        op = op_of(node)
        found = _module_for(op, node) if op and node.users else None  # unread, it works in place
        if found is None:
            continue
        made, operands = found
        name = new_name(module, op)
        module.add_module(name, made.train(module.training))
        with graph.inserting_after(node):
            call = graph.call_module(name, operands)
        take_place(call, node)
        now = f"self.{name}({', '.join(map(str, operands))})"
        edits.append(edit_of("function", path, call, f"self.{name} = {written(made)}", now))
    return edits


def written(module: nn.Module) -> str:
    """A module as it would be written: `nn.ReLU()`, `AddBlock()`."""
    if isinstance(module, nn.Sequential):
        return f"nn.Sequential({', '.join(map(written, module))})"
    text = repr(module)
    if type(module).__module__.startswith("torch.nn."):
        return f"nn.{text}"
    return text


def _module_for(op: str, node: fx.Node) -> Made | None:
    given = arguments_of(node)
    if given.get("out") is not None or op not in _MAKERS or not _is_float(node):
        return None
    try:
        return _MAKERS[op](node, given)
    except (OptionError, KeyError, TypeError):  # options that no module has
        return None


def _is_float(node: fx.Node) -> bool:
    return SHAPE in node.meta and node.meta[SHAPE][1].is_floating_point


def _rank(value: Any) -> int:
    """Of a tensor; 0 for a plain number."""
    return len(value.meta[SHAPE][0]) if isinstance(value, fx.Node) and SHAPE in value.meta else 0


def _plain(kind: type[nn.Module], **options: str) -> Callable[[fx.Node, Arguments], Made]:
    """A module of torch's with these options, each under its name as the function's argument."""

    def make(node: fx.Node, given: Arguments) -> Made:
        if _nodes(*(given[name] for name in options.values() if name in given)):
            raise KeyError(node.name)
        return kind(**{own: given[name] for own, name in options.items() if name in given}), (given["input"],)

    return make


def _nodes(*values: Any) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.map_arg(values, found.append)
    return found


def _two(kind: type[nn.Module]) -> Callable[[fx.Node, Arguments], Made | None]:
    """Of two tensors; arithmetic with a plain number only scales or shifts a range."""

    def make(node: fx.Node, given: Arguments) -> Made | None:
        pair = given["input"], given["other"]
        is_plain = set(given) == {"input", "other"} and all(_rank(one) for one in pair)
        return (kind(), pair) if is_plain else None

    return make


def _cat(node: fx.Node, given: Arguments) -> Made | None:
    parts, dim = given["tensors"], given.get("dim", given.get("axis", 0))
    return (
        (CatBlock(dim), (list(parts) if isinstance(parts, list | tuple) else parts,)) if isinstance(dim, int) else None
    )


def _clamp(node: fx.Node, given: Arguments) -> Made | None:
    low, high = given.get("min"), given.get("max")
    if low == 0 and high is None:
        return nn.ReLU(), (given["input"],)
    if low == 0 and high == 6:
        return nn.ReLU6(), (given["input"],)
    if isinstance(low, int | float) and isinstance(high, int | float):
        return nn.Hardtanh(low, high), (given["input"],)
    return None


def _mean(node: fx.Node, given: Arguments) -> Made | None:
    """Over height and width of a map."""
    dims = given.get("dim", given.get("arg1"))
    keeps = given.get("keepdim", given.get("arg2", False))
    if _rank(given["input"]) != 4 or not isinstance(dims, list | tuple) or sorted(d % 4 for d in dims) != [2, 3]:
        return None
    pool: nn.Module = nn.AdaptiveAvgPool2d(1)
    return (pool if keeps else nn.Sequential(pool, nn.Flatten(1))), (given["input"],)


def _dropout(kind: type[nn.Module]) -> Callable[[fx.Node, Arguments], Made | None]:
    def make(node: fx.Node, given: Arguments) -> Made | None:
        heeds_mode = node.meta.get(FOLLOWS_MODE)
        return (kind(given.get("p", 0.5)), (given["input"],)) if heeds_mode else None

    return make


def _resize(node: fx.Node, given: Arguments) -> Made | None:
    """With its own factor or size, or to the size of another map."""
    options = {"mode": given.get("mode", "nearest"), "align_corners": given.get("align_corners")}
    size, factor = given.get("size"), given.get("scale_factor")
    if given.get("recompute_scale_factor") or given.get("antialias") or _rank(given["input"]) != 4:
        return None
    other = _map_of_size(size)
    if other is not None:
        return ResizeWith(**options), (given["input"], other)
    if _nodes(size, factor):
        return None
    return ResizeWith(size=size, scale_factor=factor, **options), (given["input"],)


def _map_of_size(size: Any) -> fx.Node | None:
    """The map of which height and width are taken, as `y.shape[-2:]` or `y.size()[2:]`."""
    if not isinstance(size, fx.Node) or op_of(size) != "getitem":
        return None
    shape, part = size.args
    if part not in (slice(-2, None, None), slice(2, None, None)) or not isinstance(shape, fx.Node):
        return None
    is_shape = (op_of(shape) == "getattr" and shape.args[1:] == ("shape",)) or (
        op_of(shape) == "size" and len(shape.args) == 1
    )
    return shape.args[0] if is_shape and isinstance(shape.args[0], fx.Node) else None


_MAKERS: dict[str, Callable[[fx.Node, Arguments], Made | None]] = {
    "add": _two(AddBlock),
    "mul": _two(MulBlock),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    "relu": _plain(nn.ReLU),
    "relu6": _plain(nn.ReLU6),
    "leaky_relu": _plain(nn.LeakyReLU, negative_slope="negative_slope"),
    "hardtanh": _plain(nn.Hardtanh, min_val="min_val", max_val="max_val"),
    **dict.fromkeys(("clamp", "clip"), _clamp),
    "sigmoid": _plain(nn.Sigmoid),
    "hardsigmoid": _plain(nn.Hardsigmoid),
    "tanh": _plain(nn.Tanh),
    "silu": _plain(nn.SiLU),
    "hardswish": _plain(nn.Hardswish),
    "gelu": _plain(nn.GELU, approximate="approximate"),
    "elu": _plain(nn.ELU, alpha="alpha"),
    "mish": _plain(nn.Mish),
    "softplus": _plain(nn.Softplus, beta="beta", threshold="threshold"),
    "softmax": _plain(nn.Softmax, dim="dim"),
    "avg_pool2d": _plain(
        nn.AvgPool2d,
        kernel_size="kernel_size",
        stride="stride",
        padding="padding",
        ceil_mode="ceil_mode",
        count_include_pad="count_include_pad",
        divisor_override="divisor_override",
    ),
    "adaptive_avg_pool2d": _plain(nn.AdaptiveAvgPool2d, output_size="output_size"),
    "mean": _mean,
    "interpolate": _resize,
    "dropout": _dropout(nn.Dropout),
    "dropout2d": _dropout(nn.Dropout2d),
}
