"""One call of a torch function in a forward."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from qdiag.tracing.intercept import Function, tensors_in
from qdiag.tracing.operations import bind, replace_arguments
from qdiag.tracing.site import Site


@dataclass(frozen=True)
class Operation:
    """A function at its address, with what it is called with.

    beside: what the same operation gave in the reference, where the two run side by side; None where this runs alone.
    """

    site: Site
    function: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    beside: Any = None

    def __call__(self) -> Any:
        """The function's own result."""
        return self.function(*self.args, **self.kwargs)

    @property
    def arguments(self) -> dict[str, Any]:
        """What it is called with, by name."""
        return bind(self.site.op, self.args, self.kwargs)

    def given(self, **arguments: Any) -> "Operation":
        """The same, called with other arguments by name."""
        args, kwargs = replace_arguments(self.site.op, self.args, self.kwargs, arguments)
        return replace(self, args=args, kwargs=kwargs)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that it is called with."""
        return tensors_in((self.args, self.kwargs))

    @property
    def first(self) -> Any:
        """The tensor that it works on, for those that have one."""
        return self.args[0] if self.args else self.kwargs["input"]
