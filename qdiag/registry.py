"""Open sets: rules, metrics, calibration methods, techniques, causes, targets, engines.

A set is a folder with one file for each member, and what other installed packages add through the entry-point group
`qdiag.<set>`. To add a member: one file, one class, no list to edit.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from qdiag.errors import OptionError

T = TypeVar("T")


class Registry(Generic[T]):
    """The members of one open set, found on first use and kept in order of their names.

    Args:
        package: Dotted name of the folder that holds the members, one module each.
        is_member: Tells a member from everything else that a module holds.
        key: The name that a user calls a member by.
    """

    def __init__(self, package: str, is_member: Callable[[Any], bool], key: Callable[[T], str]):
        self.package, self.is_member, self.key = package, is_member, key

    @cached_property
    def members(self) -> dict[str, T]:
        """By the name that a user calls each by."""
        folder = importlib.import_module(self.package)
        found = [
            member
            for info in pkgutil.iter_modules(folder.__path__, self.package + ".")
            for member in self._members_of(importlib.import_module(info.name))
        ]
        group = "qdiag." + self.package.rpartition(".")[2]
        found += [point.load() for point in entry_points(group=group)]
        return {self.key(member): member for member in sorted(found, key=self.key)}

    def _members_of(self, module: Any) -> Iterator[T]:
        for value in vars(module).values():
            if self.is_member(value) and getattr(value, "__module__", None) == module.__name__:
                yield value

    def __getitem__(self, name: str) -> T:
        try:
            return self.members[name]
        except KeyError:
            kind = self.package.rpartition(".")[2].rstrip("s")
            raise OptionError(
                f"no {kind} {name!r}. There are: {', '.join(self.members)}.", code="unknown-name"
            ) from None

    def __iter__(self) -> Iterator[T]:
        return iter(self.members.values())

    def __len__(self) -> int:
        return len(self.members)
