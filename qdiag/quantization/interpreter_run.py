"""A whole forward in one numeric version."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.operation import Operation
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs, named_leaves
from qdiag.tracing.intercept import Function, Interceptor
from qdiag.tracing.site import Site
from qdiag.tracing.source import Source

Addresses = Callable[[Site, Callable[[], Source | None], Site | None], Site]
"""Gives the address to go by, from an operation's own, from what tells where in the user's code it stands, and from the
address that the layer under way goes on with."""


@final
class InterpreterRun(Interceptor):
    """Runs the user's forward, operation by operation, through an interpreter.

    addresses: for a forward that counts its operations otherwise than the traced one.
    """

    def __init__(self, interpreter: Interpreter, addresses: Addresses | None = None):
        super().__init__(interpreter.model)
        self.interpreter, self.addresses = interpreter, addresses

    def forward(self, inputs: Inputs) -> Any:
        """The model's result on these inputs. Raises ModelError where the model raises, or leaves the plan."""
        self.restart()
        stored = self.interpreter.inputs(inputs)
        with self:
            result = forward(self.interpreter.model, stored, self)
        self.interpreter.guard.end(tensor for _, tensor in named_leaves(result))
        return result

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _gives_back(site, args):
            same = function(*args, **kwargs)
            self.interpreter.guard.pass_on(args[0], same)
            return same
        operation = Operation(site, function, args, kwargs)
        if self.addresses is not None:
            expected = self.interpreter.guard.expected(operation.tensors)
            operation = replace(operation, site=self.addresses(site, self.source, expected))
        return self.interpreter.run(operation)


def _gives_back(site: Site, args: tuple[Any, ...]) -> bool:
    """True where a tensor is viewed as itself: so autograd hands on what a function of its own returned unchanged."""
    return site.op == "view_as" and len(args) == 2 and args[0] is args[1]
