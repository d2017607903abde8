"""What tools read: every public parameter is described where it belongs, and every verb has an example that runs."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import griffe
import pytest

import qdiag
from qdiag.comparison.layer_error import LayerComparison, LayerError, WeightError
from qdiag.explanation.causes.cause import Cause, Evidence, Suspect
from qdiag.export.engines.engine import Delivery, Engine, Setting
from qdiag.linting.context import LintContext
from qdiag.linting.finding import Finding
from qdiag.linting.rule import Example, Rule
from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments
from qdiag.planning.layer import Layer
from qdiag.planning.targets.target import Target
from qdiag.quantization.calibration_report import CalibrationReport
from qdiag.quantization.methods.method import Method
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.techniques.technique import Technique
from qdiag.quantization.watchers import Watchers
from qdiag.registry import Registry
from qdiag.report.displayable import Displayable
from qdiag.tracing.trace import Call, Value
from qdiag.workbench.session import Session

RESULTS = [Displayable, CalibrationReport, LayerComparison, LayerError, WeightError, Session]
OF_EXTENSIONS = [
    *(
        Registry,
        Rule,
        Example,
        LintContext,
        Call,
        Value,
        Finding,
        Metric,
        Moments,
        FormatFacts,
        Cause,
        Suspect,
        Evidence,
    ),
    *(Method, Technique, Target, Engine, Delivery, Setting, Numerics, OwnWeights, Operands, Watchers, Layer),
]
"""Classes that a user meets who adds something: see docs/extending."""

VERBS = [
    *("trace", "lint_model", "load_model", "load_formats", "load_demo", "load_weights", "resize_with"),
    *("calibrate", "calibration_report", "what_if", "equalize", "compare", "inspect", "explain", "diagnose", "train"),
    *("sensitivity", "fix_model"),
    *("export_onnx", "verify", "repair_file", "export_target", "compare_dump"),
]
MODULES = ["QuantTrainModule", "QuantCalibrateModule", "QuantTestModule"]
WITH_EXAMPLES = [*VERBS, *MODULES, "Subject", "Recipe", "Workbench"]

Documented = tuple[str, Callable[..., Any], str]
"""A name, what it is called with, and its docstring."""


def documented() -> Iterator[Documented]:
    """Every public function, class and method."""
    for value in [*(getattr(qdiag, name) for name in qdiag.__all__), *RESULTS, *OF_EXTENSIONS]:
        if not inspect.isclass(value):
            yield value.__name__, getattr(value, "steps", value), value.__doc__ or ""
        elif not issubclass(value, Exception):
            yield value.__name__, value, value.__doc__ or ""
            for name, member in methods(value):
                yield f"{value.__name__}.{name}", member, member.__doc__ or ""


def methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in vars(cls).items():
        function = getattr(getattr(value, "__func__", value), "steps", getattr(value, "__func__", value))
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


def described(docstring: str) -> dict[str, str]:
    """What `Args:` and `Attributes:` say, by name."""
    sections = griffe.Docstring(inspect.cleandoc(docstring)).parse("google", warnings=False)
    kinds = griffe.DocstringSectionKind.parameters, griffe.DocstringSectionKind.attributes
    entries = (entry for section in sections if section.kind in kinds for entry in section.value)
    return {entry.name.lstrip("*"): entry.description for entry in entries}


def parameters(function: Callable[..., Any]) -> set[str]:
    """What a function, or a class of qdiag's own making, is called with."""
    if inspect.isclass(function) and not issubclass(function, tuple):
        maker: Any = vars(function).get("__init__", function.__init__)
        if not getattr(maker, "__module__", "").startswith("qdiag."):
            return set()
    return {name for name in inspect.signature(function).parameters if name not in ("self", "cls")}


def attributes(function: Callable[..., Any]) -> set[str]:
    """What a class declares."""
    return {name for cls in getattr(function, "__mro__", ()) for name in getattr(cls, "__annotations__", ())}


@pytest.mark.parametrize("item", list(documented()), ids=lambda item: item[0])
def test_every_parameter_is_described_and_nothing_that_is_not_there(item: Documented) -> None:
    _, function, docstring = item
    found = described(docstring)
    assert parameters(function) <= found.keys() <= parameters(function) | attributes(function)
    assert all(text.endswith(".") and not text[0].islower() for text in found.values())


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_public(name: str) -> None:
    assert name in qdiag.__all__
    assert not inspect.isclass(getattr(qdiag, name))


def test_every_public_function_is_a_verb() -> None:
    functions = {name for name in qdiag.__all__ if not inspect.isclass(getattr(qdiag, name))}
    assert functions == set(VERBS)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_it_has_an_example_that_runs(name: str) -> None:
    """pytest runs it: `--doctest-modules` collects the package."""
    assert ">>> " in (getattr(qdiag, name).__doc__ or "")
