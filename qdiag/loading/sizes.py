"""Arithmetic on lengths: what a file computes from tensors' shapes, as numbers beside the network.

A file computes the shape of a Reshape by Shape, Gather, Concat and the like. Done with numbers of Python, none of it
appears in a trace, and the lengths stay symbols while `torch.export` records.
"""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from torch import Tensor, nn

Values = np.ndarray
"""Numbers of Python, or symbols, in an array of objects."""


def as_numbers(value: Any) -> Values:
    """A constant, or literal numbers, as arithmetic on lengths takes them."""
    return np.array(value.tolist() if isinstance(value, Tensor) else value, dtype=object)


class ShapeOf(nn.Module):
    """The lengths of a tensor's axes, from `start` to before `end`."""

    def __init__(self, start: int, end: int | None):
        super().__init__()
        self.start, self.end = start, end

    def forward(self, x: Tensor) -> Values:
        return as_numbers(list(x.shape[self.start : self.end]))


class Count(nn.Module):
    """How many values a tensor holds."""

    def forward(self, x: Tensor) -> Values:
        return as_numbers(x.numel())


class SizeArithmetic(nn.Module):
    """One operator of the file on numbers. attributes: the node's own."""

    def __init__(self, op: str, attributes: dict[str, Any]):
        super().__init__()
        self.op, self.attributes = op, attributes

    def forward(self, *values: Any) -> Values:
        result = SIZE_OPERATORS[self.op](self.attributes, *map(as_numbers, values))
        return np.asarray(result, dtype=object)

    def extra_repr(self) -> str:
        return self.op


def _gather(attributes: dict[str, Any], data: Values, index: Values) -> Any:
    return np.take(data, index.astype(int), axis=attributes.get("axis", 0))


def _slice(attributes: dict[str, Any], data: Values, *rest: Values) -> Any:
    names = ("starts", "ends", "axes", "steps")
    given: dict[str, Any] = dict(zip(names, rest, strict=False)) or {name: attributes.get(name) for name in names}
    starts, ends = (list(map(int, given[name])) for name in ("starts", "ends"))
    axes, steps = given.get("axes"), given.get("steps")
    index = [slice(None)] * data.ndim
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = place if axes is None else int(axes[place])
        step = 1 if steps is None else int(steps[place])
        to_the_front = step < 0 and end < -data.shape[axis]
        index[axis] = slice(start, None if to_the_front else end, step)
    return data[tuple(index)]


def _cast(attributes: dict[str, Any], data: Values) -> Any:
    floats = attributes["to"] in (1, 10, 11, 16)
    return np.vectorize(float if floats else int, otypes=[object])(data) if _is_known(data) else data


def _is_known(data: Values) -> bool:
    return all(isinstance(item, (int, float)) for item in data.reshape(-1))


def _divide(_: dict[str, Any], a: Values, b: Values) -> Any:
    floats = any(isinstance(item, float) for item in (*a.reshape(-1), *b.reshape(-1)))
    return a / b if floats else a // b


def _unsqueeze(attributes: dict[str, Any], data: Values, axes: Values | None = None) -> Any:
    wanted = attributes["axes"] if axes is None else axes.reshape(-1)
    return np.expand_dims(data, tuple(map(int, wanted)))


def _squeeze(attributes: dict[str, Any], data: Values, axes: Values | None = None) -> Any:
    wanted = attributes.get("axes") if axes is None else axes.reshape(-1)
    return np.squeeze(data, None if wanted is None else tuple(map(int, wanted)))


def _product(attributes: dict[str, Any], data: Values, axes: Values | None = None) -> Any:
    product = reduce(operator.mul, data.reshape(-1).tolist(), 1)
    return [product] if attributes.get("keepdims", 1) else product


def _range(_: dict[str, Any], start: Values, end: Values, step: Values) -> Any:
    return np.arange(start.item(), end.item(), step.item())


def _filled(attributes: dict[str, Any], shape: Values) -> Any:
    value = attributes.get("value")
    return np.full(shape.astype(int), 0 if value is None else value.item(), dtype=object)


def _elementwise(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda _, data: np.vectorize(function, otypes=[object])(data)


def _reshape(_: dict[str, Any], data: Values, shape: Values) -> Any:
    return data.reshape(shape.astype(int))


SIZE_OPERATORS: dict[str, Callable[..., Any]] = {
    "Gather": _gather,
    "Slice": _slice,
    "Cast": _cast,
    "Div": _divide,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "ReduceProd": _product,
    "Range": _range,
    "ConstantOfShape": _filled,
    "Reshape": _reshape,
    "Concat": lambda _, *parts: np.concatenate([part.reshape(-1) for part in parts]),
    "Transpose": lambda attributes, data: data.transpose(attributes.get("perm")),
    "Identity": lambda _, data: data,
    "Add": lambda _, a, b: a + b,
    "Sub": lambda _, a, b: a - b,
    "Mul": lambda _, a, b: a * b,
    "Mod": lambda _, a, b: a % b,
    "Neg": lambda _, a: -a,
    "Min": lambda _, *parts: reduce(np.minimum, parts),
    "Max": lambda _, *parts: reduce(np.maximum, parts),
    "Equal": lambda _, a, b: a == b,
    "Where": lambda _, condition, a, b: np.where(condition.astype(bool), a, b),
    "Floor": _elementwise(lambda item: float(int(item // 1))),
    "Ceil": _elementwise(lambda item: float(-int(-item // 1))),
}
