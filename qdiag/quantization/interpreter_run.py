"""A whole forward in one numeric version."""

from collections.abc import Callable
from typing import Any, final

from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.operation import Operation
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs, named_leaves
from qdiag.tracing.intercept import Function, Interceptor
from qdiag.tracing.site import Site
from qdiag.tracing.source import Source

OnOperation = Callable[[Site, Callable[[], Source | None]], None]
"""Called with each operation's address, and with what tells where in the user's code it stands."""


@final
class InterpreterRun(Interceptor):
    """Runs the user's forward, operation by operation, through an interpreter."""

    def __init__(self, interpreter: Interpreter, on_operation: OnOperation | None = None):
        super().__init__(interpreter.model)
        self.interpreter, self.on_operation = interpreter, on_operation

    def forward(self, inputs: Inputs) -> Any:
        """The model's result on these inputs. Raises ModelError where the model raises, or leaves the plan."""
        self.restart()
        stored = self.interpreter.inputs(inputs)
        with self:
            result = forward(self.interpreter.model, stored, self)
        self.interpreter.guard.end(tensor for _, tensor in named_leaves(result))
        return result

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.on_operation is not None:
            self.on_operation(site, self.source)
        return self.interpreter.run(Operation(site, function, args, kwargs))
