"""Names in backticks exist: in docstrings, and on the pages. What is renamed is renamed in words too."""

import ast
import builtins
import importlib
import keyword
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from torch import nn

import qdiag
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.workbench.session import Session

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted((REPOSITORY / "qdiag").rglob("*.py"))
PAGES = [*sorted((REPOSITORY / "docs").rglob("*.md")), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_FENCE = re.compile(r"^[ \t]*```.*?^[ \t]*```[ \t]*$", re.MULTILINE | re.DOTALL)

KNOWN_BY_A_NAME: dict[str, type] = {
    "bench": qdiag.Workbench,
    "calibration": Calibration,
    "comparison": qdiag.Comparison,
    "diagnosis": qdiag.Diagnosis,
    "exported": qdiag.ExportedModel,
    "finding": qdiag.LintReport,
    "quantized": QuantizedModel,
    "session": Session,
    "subject": qdiag.Subject,
    "trace": qdiag.Trace,
    "verification": qdiag.Verification,
}
"""What texts call an object: its attributes are looked up in the class."""

OF_OTHERS = {
    *("accelerate", "anywidget", "collate_fn", "debug_level", "imagenet", "launch", "make", "notebook_launcher", "pip"),
    *("repo_url", "site", "coco_map", "conv_1", "conv_stem", "my_accuracy", "peak_sqnr_db"),
}
"""Words of other programs, and of users' own models and code in examples."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_names_in_docstrings_exist(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [text for node in ast.walk(tree) if (text := docstring(node)) is not None]
    assert sorted({name for text in texts for name in names_in(text) if not exists(name)}) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_names_on_pages_exist(path: Path) -> None:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    assert sorted({name for name in names_in(text) if not exists(name)}) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_what_examples_import_exists(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qdiag"):
                module = importlib.import_module(node.module or "")
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_a_name_that_is_not_there_is_found() -> None:
    for gone in ("quantized.report()", "layers_trained", "qdiag.numerics.scale.Scale", "session.rollback()", "Lane"):
        assert not exists(_NAME.match(gone)[0])  # type: ignore[index]


def docstring(node: ast.AST) -> str | None:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return ast.get_docstring(node)
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return node.value.value if is_text else None  # type: ignore[attr-defined]


def names_in(text: str) -> Iterator[str]:
    """What stands in backticks and is a name, or a call of one."""
    for span in _SPAN.findall(text):
        found = _NAME.match(span)
        if found and re.fullmatch(r"(?:\(.*\))?", span[found.end() :]):
            yield found[0]


def exists(name: str) -> bool:
    first, *rest = name.split(".")
    if first in OF_OTHERS or (REPOSITORY / name).exists():
        return True
    if rest and (REPOSITORY / "qdiag" / first / f"{rest[0]}.py").is_file():
        return is_in_package([first, *rest])
    if first in KNOWN_BY_A_NAME and rest:
        return rest[0] in attributes(KNOWN_BY_A_NAME[first])
    if first == "qdiag" and rest:
        return is_in_package(rest)
    if first in qdiag.__all__ and rest and isinstance(getattr(qdiag, first), type):
        return rest[0] in attributes(getattr(qdiag, first))
    if first in ("torch", "nn", "np", "torchvision"):
        return leads_somewhere({"torch": torch, "nn": nn, "np": numpy}.get(first), first, rest)
    return all(part in universe() for part in (first, *rest))


def is_in_package(path: list[str]) -> bool:
    """A module of the package, what one holds, or a group of entry points."""
    value: Any = qdiag
    for number, part in enumerate(path):
        if hasattr(value, part):
            value = getattr(value, part)
            continue
        try:
            value = importlib.import_module(".".join(["qdiag", *path[: number + 1]]))
        except ImportError:
            return path in ([group] for group in OPEN_SETS)
    return True


OPEN_SETS = "rules", "metrics", "methods", "techniques", "causes", "targets", "engines"


def leads_somewhere(module: ModuleType | None, first: str, path: list[str]) -> bool:
    value: Any = module or importlib.import_module(first)
    for part in path:
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


@cache
def attributes(cls: type) -> set[str]:
    """Of the class, its annotations, and what its methods give `self`."""
    names = set(dir(cls))
    for base in cls.__mro__:
        names |= set(getattr(base, "__annotations__", {}))
        if base.__module__.startswith("qdiag"):
            tree = ast.parse(Path(importlib.import_module(base.__module__).__file__ or "").read_text(encoding="utf-8"))
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names


@cache
def universe() -> set[str]:
    """Every name that the package, torch and Python define; words that options take are strings of the package."""
    names = {name for one in (builtins, torch, nn, nn.functional, nn.Module, torch.Tensor) for name in dir(one)}
    names |= {*keyword.kwlist, *names_of_tests()}
    for source in SOURCES:
        names |= {source.stem, source.parent.name}
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names |= defined(node)
    return names


def names_of_tests() -> set[str]:
    files = (REPOSITORY / "tests").rglob("test_*.py")
    return {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))}


def defined(node: ast.AST) -> set[str]:
    """What a piece of source introduces. Attributes that it only reads count: they belong to other packages."""
    match node:
        case ast.ClassDef() | ast.FunctionDef():
            return {node.name}
        case ast.arg() | ast.keyword():
            return {node.arg or ""}
        case ast.Name() if isinstance(node.ctx, ast.Store):
            return {node.id}
        case ast.Attribute():
            return {node.attr}
        case ast.alias():
            return {*node.name.split("."), node.asname or ""}
        case ast.Constant(value=str(value)) if len(value) < 60:
            return set(re.findall(r"[A-Za-z_]\w*", value))
    return set()
