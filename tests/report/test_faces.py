"""One convention for results: `report()` lists the parts in the class, functions of values draw them."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator

import pytest

import qdiag
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report

ELEMENTS = {*typing.get_args(Block), Report}


def results() -> Iterator[type[Displayable]]:
    for module in pkgutil.walk_packages(qdiag.__path__, "qdiag."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
    yield from every_kind_of(Displayable)


def every_kind_of(kind: type[Displayable]) -> Iterator[type[Displayable]]:
    for result in kind.__subclasses__():
        if result.__module__.startswith("qdiag."):
            yield result
        yield from every_kind_of(result)


@pytest.mark.parametrize("result", sorted(results(), key=str))
def test_a_result_lists_its_parts_and_draws_none(result: type[Displayable]) -> None:
    assert (vars(result)["report"].__doc__ or "").strip(), "report() says in which order the parts come"
    methods = {name: value for name, value in vars(result).items() if inspect.isfunction(value)}
    assert [name for name, method in methods.items() if name != "report" and draws(method)] == []


def draws(method: typing.Any) -> bool:
    """Whether it gives an element of a report, or several."""
    hint = typing.get_type_hints(method).get("return")
    inside = [hint, *typing.get_args(hint)]
    return any(part in ELEMENTS for outer in inside for part in (outer, *typing.get_args(outer)))
