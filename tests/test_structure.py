"""The house keeps its shape: short files, short functions, composition in place of overriding, numbers in one room."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import qdiag

PACKAGE = Path(qdiag.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LINES_IN_A_FILE = 300
LINES_IN_A_FUNCTION = 35

ALLOWED: set[str] = set()
"""Methods over concrete ones that are to stay."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_a_file_is_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name for name, lines in lengths.items() if lines > LINES_IN_A_FILE} == set()


def test_a_function_is_short() -> None:
    lengths = {f"{name_of(path)} {node.name}": length(node) for path, node in all_functions()}
    assert {name for name, lines in lengths.items() if lines > LINES_IN_A_FUNCTION} == set()


Function = ast.FunctionDef | ast.AsyncFunctionDef


def all_functions() -> Iterator[tuple[Path, Function]]:
    for path in FILES:
        yield from ((path, node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines from `def` to the end, save for the docstring: what a user reads may be as long as it has to be."""
    first, last = function.body[0], function.end_lineno
    assert last is not None
    documented = ast.get_docstring(function) is not None and first.end_lineno is not None
    text = first.end_lineno - first.lineno + 1 if documented and first.end_lineno is not None else 0
    return last - function.lineno + 1 - text


# Composition in place of overriding -----------------------------------------------------------------------------------


def classes() -> list[type]:
    found = set()
    for module in pkgutil.walk_packages(qdiag.__path__, "qdiag."):
        if module.name.rpartition(".")[2] != "__main__":
            members = vars(importlib.import_module(module.name)).values()
            found |= {value for value in members if inspect.isclass(value) and value.__module__ == module.name}
    return sorted(found, key=lambda cls: (cls.__module__, cls.__qualname__))


def overridden() -> Iterator[tuple[type, type, str]]:
    """(class, its base within qdiag, name) for every method that both define."""
    for cls in classes():
        for base in cls.__mro__[1:]:
            if base.__module__.startswith("qdiag."):
                both = (name for name in vars(cls) if name in vars(base) and callable(getattr(cls, name)))
                yield from ((cls, base, name) for name in both if not is_dunder(name))


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def is_concrete(method: Callable[..., Any]) -> bool:
    """Whether it does anything: more than to say what is missing, or that there is nothing."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
    assert isinstance(function, Function)
    return not all(map(is_nothing, function.body))


def is_nothing(statement: ast.stmt) -> bool:
    """A docstring, an ellipsis, a constant as the answer, or a NotImplementedError."""
    if isinstance(statement, ast.Raise):
        return "NotImplementedError" in ast.unparse(statement)
    return isinstance(statement, ast.Expr | ast.Return) and isinstance(statement.value, ast.Constant | None)


def test_no_private_method_is_overridden_from_another_file() -> None:
    private = ((cls, base, name) for cls, base, name in overridden() if name.startswith("_"))
    found = {f"{cls.__name__}.{name}" for cls, base, name in private if cls.__module__ != base.__module__}
    assert found == set()


def test_a_class_is_abstract_or_final() -> None:
    concrete = ((cls, base, name) for cls, base, name in overridden() if is_concrete(inspect.unwrap(vars(base)[name])))
    found = {f"{cls.__name__}.{name} over {base.__name__}'s" for cls, base, name in concrete}
    assert found - ALLOWED == set()


# One room knows that a scale is a power of two ------------------------------------------------------------------------

EXPONENTIALS = {"exp2", "ldexp", "frexp", "log2"}


def test_only_numerics_knows_that_a_scale_is_a_power_of_two() -> None:
    inside = [path for path in FILES if not name_of(path).startswith("numerics/")]
    found = {name_of(path): lines for path in inside if (lines := powers_of_two(ast.parse(path.read_text())))}
    assert found == {}


def powers_of_two(tree: ast.AST) -> list[str]:
    """Expressions that raise 2 to what is not a number in the text itself, as a limit is, or take a logarithm to 2."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            is_one = (node.attr if isinstance(node, ast.Attribute) else node.id) in EXPONENTIALS
        else:
            is_one = isinstance(node, ast.BinOp) and is_power_of_two(node)
        if is_one:
            found.append(ast.unparse(node))
    return found


def is_power_of_two(node: ast.BinOp) -> bool:
    if not isinstance(node.op, ast.Pow) or not isinstance(node.left, ast.Constant) or node.left.value != 2:
        return False
    exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
    return not isinstance(exponent, ast.Constant)
