"""`trace()`: run the model once and write down what happened."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from qdiag.tracing.borrowing import borrow, check_module
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs, named_leaves
from qdiag.tracing.intercept import Function, Interceptor, tensors_in
from qdiag.tracing.operations import bind
from qdiag.tracing.site import Site
from qdiag.tracing.tensors import version_of
from qdiag.tracing.trace import Call, ModuleUse, Trace, Value, ValueKind


def trace(model: nn.Module, data: Any) -> Trace:
    """One eager forward in eval mode, without gradients: every operation with its address and its edges.

    Args:
        model: Any module whose forward runs; it is left as it was (parameters, buffers, hooks, mode, random state).
        data: What the model is called with: a tensor; a tuple of positional arguments; a dict of keyword arguments;
            `Inputs(...)` for both; anything else is the one positional argument.

    Raises:
        ModelError: For what is no model, and where the model raises, with the last address reached.

    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> trace(net, torch.zeros(1, 3, 8, 8)).sites()
    (0, 1)
    """
    check_module(model)
    inputs = Inputs.of(data, model).to_device_of(model).map(torch.clone)  # the forward may write to them
    recorder = _Recorder(model)
    recorder.know_inputs(inputs)
    with borrow(model), recorder:
        outputs = forward(model, inputs, recorder)
    return recorder.trace(type(model).__name__, outputs)


class _Recorder(Interceptor):
    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.values: Any = WeakIdKeyDictionary()  # by identity, and a freed tensor's identity is not taken for its own
        self.count = 0
        self.calls: list[Call] = []
        self.uses: list[ModuleUse] = []
        self.inputs: list[Value] = []
        for name, parameter in model.named_parameters():
            self._know(parameter, "parameter", name)
        for name, buffer in model.named_buffers():
            self._know(buffer, "buffer", name)

    def know_inputs(self, inputs: Inputs) -> None:
        self.inputs = [self._know(tensor, "input", name) for name, tensor in inputs.tensors()]

    def entered(self, path: str, module: nn.Module) -> None:
        if path:
            self.uses.append(ModuleUse(path, type(module), self.source()))

    def created(self, result: Any) -> None:
        for tensor in tensors_in(result):
            self._know(tensor, "constant")

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        source = self.source()
        given = tensors_in((args, kwargs))
        inputs = tuple(self._value(tensor) for tensor in given)
        arguments = {name: self._argument(value) for name, value in bind(site.op, args, kwargs, function).items()}
        versions = [version_of(tensor) for tensor in given]
        result = function(*args, **kwargs)
        changed = [t for t, before in zip(given, versions, strict=True) if version_of(t) != before]
        made = tensors_in(result)
        made += [tensor for tensor in changed if all(tensor is not other for other in made)]
        if made:
            outputs = tuple(self._know(tensor, "computed", producer=site) for tensor in made)
            module = self.stack[-1][1] if self.stack else None
            self.calls.append(
                Call(
                    site, _dotted(function), site.path, type(module), source, inputs, outputs, arguments, bool(changed)
                )
            )
        return result

    def _argument(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._value(value)
        if isinstance(value, (list, tuple)):
            return tuple(self._argument(item) for item in value)
        return value

    def _value(self, tensor: Tensor) -> Value:
        return self.values.get(tensor) or self._know(tensor, "unseen")

    def _know(self, tensor: Tensor, kind: ValueKind, name: str = "", producer: Site | None = None) -> Value:
        value = Value(self.count, kind, tuple(tensor.shape), tensor.dtype, name, producer)
        self.count += 1
        self.values[tensor] = value
        return value

    def trace(self, model_name: str, outputs: Any) -> Trace:
        named = tuple((name, self._value(tensor)) for name, tensor in named_leaves(outputs))
        return Trace(model_name, tuple(self.calls), tuple(self.inputs), named, tuple(self.uses))


def _dotted(function: Function) -> str:
    module = getattr(function, "__module__", None) or "torch.Tensor"
    return f"{module}.{getattr(function, '__name__', type(function).__name__)}"
