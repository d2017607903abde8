"""The one place where qdiag stands between the user's forward and torch."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from qdiag.tracing.operations import canonical
from qdiag.tracing.site import Site, is_named_after
from qdiag.tracing.source import Source, calling_source

Function = Callable[..., Any]

# Properties that give a view of the tensor; every other property is a question about it.
_VIEW_PROPERTIES = {"T", "mT", "H", "mH", "data", "real", "imag"}


class Interceptor(TorchFunctionMode):
    """Sees every operation of a forward with its address; a subclass decides in `operation()` what happens.

    Modules are followed through torch's global hooks, so that nothing is registered on the user's model.
    Occurrences are counted in one forward: call `restart()` before the next, and call the model inside `with`.
    Only the thread that entered is followed.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.names = {id(module): name for name, module in model.named_modules()}
        self.last_site: Site | None = None
        self.last_source: Source | None = None
        self.restart()

    def restart(self) -> None:
        """Begin a new forward: addresses count from 0 again."""
        self.counts: Counter[tuple[str, str]] = Counter()
        self.stack: list[tuple[str, nn.Module]] = []

    # What a subclass says ----------------------------------------------------------------------------

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out one operation that takes at least one tensor, and return its result."""
        raise NotImplementedError

    def created(self, result: Any) -> None:
        """A call that takes no tensor, as torch.zeros, gave this."""

    def entered(self, path: str, module: nn.Module) -> None:
        """A module's forward begins."""

    # What torch tells us ------------------------------------------------------------------------------

    def __enter__(self) -> "Interceptor":
        self._thread = threading.get_ident()
        self._handles = [
            register_module_forward_pre_hook(self._push),
            register_module_forward_hook(self._pop, always_call=True),
        ]
        super().__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name_of(func)
        if name is None:
            return func(*args, **kwargs)
        if not tensors_in(args) and not tensors_in(kwargs):
            result = func(*args, **kwargs)
            self.created(result)
            return result
        return self.operation(self._address(name), func, args, kwargs)

    def source(self) -> Source | None:
        """Where in the user's code the operation now under way was called.

        A module that a file was loaded as says itself where it comes from.
        """
        own = getattr(self.stack[-1][1], "source", None) if self.stack else None
        self.last_source = own if isinstance(own, Source) else calling_source()
        return self.last_source

    def _address(self, op: str) -> Site:
        path, module = self.stack[-1] if self.stack else ("", None)
        occurrence = self.counts[path, op]
        self.counts[path, op] += 1
        self.last_site = Site(path, op, occurrence, module is not None and bool(path) and is_named(type(module), op))
        return self.last_site

    def _push(self, module: nn.Module, _: Any) -> None:
        if threading.get_ident() == self._thread:
            path = self.names.get(id(module))
            if path is None:  # made during the forward, or kept where torch does not see it
                above = self.stack[-1][0] if self.stack else ""
                path = f"{above}.<{type(module).__name__}>".lstrip(".")
            self.stack.append((path, module))
            self.entered(path, module)

    def _pop(self, module: nn.Module, *_: Any) -> None:
        if threading.get_ident() == self._thread and self.stack:
            self.stack.pop()


def _name_of(func: Function) -> str | None:
    """The canonical name of an operation; None for what only asks about a tensor or switches torch's state."""
    name = getattr(func, "__name__", "") or type(func).__name__
    if name in ("__get__", "__set__", "__delete__"):
        attribute = getattr(func.__self__, "__name__", "")  # type: ignore[attr-defined]
        return canonical(attribute) if name == "__get__" and attribute in _VIEW_PROPERTIES else None
    if name.startswith("_set_") or name in _QUESTIONS:
        return None
    return canonical(name)


_QUESTIONS = {
    *("dim", "size", "numel", "stride", "is_contiguous", "is_floating_point", "is_complex", "get_device"),
    *("element_size", "storage_offset", "data_ptr", "untyped_storage", "requires_grad_", "_is_view"),
    *("__len__", "__repr__", "__format__", "__hash__", "__deepcopy__"),
}

_named: dict[tuple[type, str], bool] = {}


def is_named(module_type: type, op: str) -> bool:
    """`is_named_after`, remembered: it is asked at every operation of every forward."""
    key = (module_type, op)
    if key not in _named:
        _named[key] = is_named_after(module_type, op)
    return _named[key]


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and dicts, in order.

    torch's own walk comes in for other containers alone: it takes a tenth of a comparison, where this is all it does.
    """
    if isinstance(tree, Tensor):
        return [tree]
    kind = type(tree)
    if kind is tuple or kind is list:
        return [tensor for item in tree for tensor in tensors_in(item)]
    if kind is dict:
        return [tensor for item in tree.values() for tensor in tensors_in(item)]
    return [] if kind in _PLAIN else [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def exchange_tensors(tree: Any, new: Callable[[Tensor], Any]) -> Any:
    """The same nested tuples, lists and dicts with something else in place of each tensor."""
    if isinstance(tree, Tensor):
        return new(tree)
    kind = type(tree)
    if kind is tuple or kind is list:
        return kind([exchange_tensors(item, new) for item in tree])
    if kind is dict:
        return {key: exchange_tensors(item, new) for key, item in tree.items()}
    return tree if kind in _PLAIN else tree_map_only(Tensor, new, tree)


_PLAIN = {type(None), bool, int, float, str, torch.dtype, torch.device, torch.memory_format, slice, type(Ellipsis)}
"""What arguments are besides tensors, mostly; no container."""


def is_float(tensor: Tensor) -> bool:
    """True for real floating-point tensors: the ones that fixed point stands in for."""
    return tensor.is_floating_point() and tensor.dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16)
