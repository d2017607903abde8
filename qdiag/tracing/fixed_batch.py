"""Networks that take one number of images at a time: told by trying, where two images do not go through."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

from torch import nn

from qdiag.errors import QdiagError
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.random_state import kept_random_state

_FOUND: "WeakKeyDictionary[nn.Module, int]" = WeakKeyDictionary()


def fixed_batch(model: nn.Module) -> int | None:
    """How many images the network takes at a time, where `find_fixed_batch` has found that out; else None.

    model: the network, or a module that wraps it as its `module`.
    """
    inner = getattr(model, "module", None)
    return _FOUND.get(model) or (fixed_batch(inner) if isinstance(inner, nn.Module) else None)


def find_fixed_batch(model: nn.Module, images: int, run: Callable[[int], object]) -> bool:
    """Try other numbers of images than two; True where another one goes through, and two do not.

    images: that there are. Tried are numbers that divide them, and powers of two, the largest first. run: a forward of
    so many.
    """
    with borrow(model), kept_random_state():
        if model in _FOUND or _goes(run, 2):
            return False
        sizes = [size for size in range(images, 0, -1) if images % size == 0 or size & (size - 1) == 0]
        found = next((size for size in sizes if size != 2 and _goes(run, size)), 0)
    if found:
        _FOUND[model] = found
    return bool(found)


def _goes(run: Callable[[int], object], images: int) -> bool:
    try:
        run(images)
    except QdiagError:
        return False
    return True
