"""Stopping work in the middle of a step."""

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from qdiag.progress import Stopped

PATIENCE = 0.15
"""Seconds in which work may still end by itself, where it tells its progress and leaves things whole."""


class ForcedStop(TorchFunctionMode):
    """Once `ask()` was called, raises `Stopped` at an operation of torch in the thread that entered, as `with` does.

    Operations of the forward are seen by torch's override mode, those of the backward by hooks on their nodes: a step
    of many seconds ends in the middle. What runs no operation of torch cannot be reached. It raises once: whatever
    cleans up afterwards runs undisturbed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._due = math.inf

    def ask(self) -> None:
        """From any thread. Asking again changes nothing."""
        self._due = min(self._due, monotonic() + PATIENCE)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if torch.compiler.is_compiling():  # what the user compiles is traced, and runs as one operation
            return func(*args, **(kwargs or {}))
        self._look()
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.grad_fn is not None and torch.is_grad_enabled():
            result.grad_fn.register_prehook(self._look)
        return result

    def _look(self, *_: Any) -> None:
        if monotonic() >= self._due:
            self._due = math.inf
            raise Stopped
