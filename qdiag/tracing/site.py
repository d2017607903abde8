"""The address of an operation in a forward pass."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Site:
    """Where in the model an operation runs: module path + operation + occurrence.

    The text form leaves out what can be guessed: a module named after its operation needs no operation
    (`layer1.0.relu`), the first occurrence needs no number, and `layer1.0.relu#1` is the second use.
    A functional operation is written after a colon: `layer1.0:add`.

    Args:
        path: Dotted name of the innermost module that is running; "" is the model itself.
        op: The operation's canonical name, as conv2d, relu, add; in-place forms fold into it.
        occurrence: 0 for the first time this operation runs at this path in one forward, then 1, 2 and so on.
        named_by_module: True where the module is named after the operation.

    >>> Site("layer1.0", "add"), Site("layer1.0.relu", "relu", 1, named_by_module=True)
    (layer1.0:add, layer1.0.relu#1)
    """

    path: str
    op: str
    occurrence: int = 0
    named_by_module: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        name = self.path if self.named_by_module else f"{self.path}:{self.op}"
        return f"{name}#{self.occurrence}" if self.occurrence else name

    __repr__ = __str__


def is_named_after(module_type: type, op: str) -> bool:
    """True where a module's class, or a base of it, carries the operation's name.

    >>> import torch
    >>> is_named_after(torch.nn.BatchNorm2d, "batch_norm"), is_named_after(torch.nn.ReLU6, "hardtanh")
    (True, True)
    >>> is_named_after(torch.nn.Sequential, "relu")
    False
    """
    wanted = _bare(op)
    return any(_bare(base.__name__.removesuffix("Block")) == wanted for base in module_type.__mro__)


def _bare(name: str) -> str:
    return re.sub(r"\dd$", "", name.replace("_", "").lower())
