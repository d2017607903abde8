"""Elementwise arithmetic, comparisons and casts."""

from qdiag.blocks import AddBlock
from qdiag.loading.conversion import Converter, Operands, Ref, Step
from qdiag.loading.modules import operation
from qdiag.loading.onnx_graph import torch_dtype


def _binary(name: str) -> Converter:
    """Two operands; a single constant is a number."""

    def convert(node: Operands) -> Step:
        a, b = node.operand(0), node.operand(1)
        if not isinstance(a, Ref) and not isinstance(b, Ref):
            a = node.tensor(0)
        if not isinstance(a, Ref) and name not in ("add", "mul", "sub", "div"):
            a = node.tensor(0)
        return node.step(operation(name), *_tensor_first(name, a, b))

    return convert


def _tensor_first(name: str, a: Ref | float, b: Ref | float) -> tuple[Ref | float, Ref | float]:
    """Sums and products with the number behind, as it is for torch's own functions."""
    return (b, a) if name in ("add", "mul") and not isinstance(a, Ref) else (a, b)


def _add(node: Operands) -> Step:
    """A sum of two computed tensors has an owner of its own."""
    if len(node) > 1 and all(node.constant(i) is None for i in range(len(node))):
        return node.step(AddBlock(), *(node.tensor(i) for i in range(len(node))))
    return _binary("add")(node)


def _total(node: Operands) -> Step:
    return node.step(AddBlock(), *(node.tensor(i) for i in range(len(node))))


def _mean(node: Operands) -> Step:
    """Of several tensors."""
    total = node.before(AddBlock(), *(node.tensor(i) for i in range(len(node))), suffix="sum")
    return node.step(operation("mul"), total, 1 / len(node))


def _sub(node: Operands) -> Step:
    a = node.operand(0)
    if isinstance(a, Ref):
        return _binary("sub")(node)
    negated = node.before(operation("neg"), node.tensor(1), suffix="neg")
    return node.step(operation("add"), negated, a)


def _div(node: Operands) -> Step:
    if node.example(0).dtype.is_floating_point:
        if not isinstance(node.operand(0), Ref):
            return node.step(operation("div"), node.tensor(0), node.tensor(1))
        return _binary("div")(node)
    return node.step(operation("div"), node.tensor(0), node.operand(1), rounding_mode="trunc")


def _extreme(name: str, bound: str) -> Converter:
    """The larger or smaller of several tensors; a number among them is a bound."""

    def convert(node: Operands) -> Step:
        values = [node.operand(i) for i in range(len(node))]
        tensors = [value for value in values if isinstance(value, Ref)] or [node.tensor(0)]
        numbers = [value for value in values if not isinstance(value, Ref)]
        found = tensors[0]
        for position, other in enumerate(tensors[1:], start=1):
            if position == len(tensors) - 1 and not numbers:
                return node.step(operation(name), found, other)
            found = node.before(operation(name), found, other, suffix=name)
        limit = (max if bound == "min" else min)(numbers) if numbers else None
        return node.step(operation("clamp"), found, **{} if limit is None else {bound: limit})

    return convert


def _unary(name: str) -> Converter:
    return lambda node: node.step(operation(name), node.tensor(0))


def _modulo(node: Operands) -> Step:
    return _binary("fmod" if node.get("fmod") else "remainder")(node)


def _cast(node: Operands) -> Step:
    return node.step(operation("to"), node.tensor(0), torch_dtype(node.get("to")))


def _cast_like(node: Operands) -> Step:
    return node.step(operation("to"), node.tensor(0), node.example(1).dtype)


def _where(node: Operands) -> Step:
    return node.step(operation("where"), node.tensor(0), node.tensor(1), node.tensor(2))


def _power(node: Operands) -> Step:
    exponent = node.operand(1)
    if not isinstance(exponent, Ref) and exponent == int(exponent):
        exponent = int(exponent)
    return node.step(operation("pow"), node.tensor(0), exponent)


OPERATORS: dict[str, Converter] = {
    "Add": _add,
    "Sum": _total,
    "Mean": _mean,
    "Sub": _sub,
    "Mul": _binary("mul"),
    "Div": _div,
    "Pow": _power,
    "Mod": _modulo,
    "Max": _extreme("maximum", "min"),
    "Min": _extreme("minimum", "max"),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Where": _where,
    "Equal": _binary("eq"),
    "Less": _binary("lt"),
    "Greater": _binary("gt"),
    "LessOrEqual": _binary("le"),
    "GreaterOrEqual": _binary("ge"),
    "And": _binary("logical_and"),
    "Or": _binary("logical_or"),
    "Xor": _binary("logical_xor"),
    "Not": _unary("logical_not"),
    "IsNaN": _unary("isnan"),
    "IsInf": _unary("isinf"),
    **{
        name.title(): _unary(name)
        for name in (
            *("neg", "abs", "sqrt", "exp", "log", "floor", "ceil", "round", "sign", "erf", "reciprocal"),
            *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
        )
    },
}
