"""One change in a module's forward."""

import linecache
from dataclasses import dataclass
from typing import Literal

from torch import fx

from qdiag.tracing.source import Source, recorded_source

EditKind = Literal["function", "reuse", "branches"]


@dataclass(frozen=True)
class Edit:
    """What was written, and what runs now.

    kind: "function" became a module, "reuse" got a module of its own, "branches" became one convolution. module: path
    of the module whose forward it is. source: the user's line. now: the new module, as it would stand in `__init__`,
    and its call.
    """

    kind: EditKind
    module: str
    source: Source | None
    made: str
    now: str

    @property
    def was(self) -> str:
        """The user's line as it stands in the file; "" where there is none."""
        return linecache.getline(self.source.file, self.source.line).strip() if self.source else ""


def edit_of(kind: EditKind, path: str, node: fx.Node, made: str, now: str) -> Edit:
    """The change of one node.

    Args:
        kind: As for `Edit`.
        path: Of the module.
        node: With the line that it was recorded from.
        made: As for `Edit`.
        now: As for `Edit`.
    """
    return Edit(kind, path, recorded_source(node), made, now)


def take_place(call: fx.Node, node: fx.Node) -> None:
    """Let one node stand for another, under its name and with its line.

    Args:
        call: The new one, behind it.
        node: The old one, which goes.
    """
    name = node.name
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    node.graph.erase_node(node)
    call.name = name


def new_name(owner: object, wanted: str) -> str:
    """A name that the owner has no attribute of.

    >>> new_name(object(), "add"), new_name(1j, "real")
    ('add', 'real2')
    """
    name, number = wanted, 1
    while hasattr(owner, name):
        number += 1
        name = f"{wanted}{number}"
    return name
