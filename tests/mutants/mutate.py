"""Small faults put into source code, one at a time: another comparison, sign, constant or condition."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_OTHER_WAY = ((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn))
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    one: other for pair in _OTHER_WAY for one, other in (pair, pair[::-1])
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """A module with one fault. line: where it is. fault: the code before and after."""

    line: int
    fault: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """Every fault that this module can be given, in the order of its text.

    >>> [mutant.fault for mutant in mutants("def half(x): return x / 2 if x > 0 else 0")][:3]
    ['x / 2 if x > 0 else 0 -> x / 2 if not x > 0 else 0', 'x > 0 -> x >= 0', '0 -> 1']
    """
    tree = ast.parse(source)
    found = []
    for place, node in enumerate(_executed(tree)):
        for number, changed in enumerate(_changed(node)):
            other = copy.deepcopy(tree)
            target = next(twin for at, twin in enumerate(_executed(other)) if at == place)
            _become(target, list(_changed(target))[number])
            found.append(Mutant(node.lineno, f"{ast.unparse(node)} -> {ast.unparse(changed)}", ast.unparse(other)))
    return found


def _executed(tree: ast.AST) -> Iterator[ast.expr]:
    """Expressions that run in functions: no annotations, no docstrings, no messages of errors."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                yield from _expressions(statement)


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.FunctionDef | ast.Raise | ast.Assert | ast.JoinedStr):
        return  # an inner function has its own turn
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _expressions(child)


def _changed(node: ast.expr) -> Iterator[ast.expr]:
    """What an expression may be by mistake."""
    match node:
        case ast.Compare(left, [operator], [right]) if type(operator) in COMPARISONS:
            yield ast.Compare(left, [COMPARISONS[type(operator)]()], [right])
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
            yield ast.BinOp(left, ARITHMETIC[type(operator)](), right)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield operand
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(float(value)):
            yield ast.Constant(value * 2 if value else 1.0)


def _become(node: ast.expr, other: ast.expr) -> None:
    """Turn a node into another, in place."""
    line = node.lineno
    node.__class__ = type(other)
    node.__dict__.clear()
    node.__dict__.update(vars(other))
    ast.fix_missing_locations(ast.copy_location(node, ast.Pass(lineno=line, col_offset=0, end_lineno=line)))
