"""The user's own file and line, found from inside a torch call."""

import linecache
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import TypeVar

import torch
import torch.fx

_TORCH = str(Path(torch.__file__).parent) + os.sep
_QDIAG = Path(__file__).parent.parent
# Whose frames stand between the user's code and torch; demo networks and rules' examples are users' code like any.
_BETWEEN = ("tracing", "quantization", "comparison", "blocks.py")
_OURS = tuple(str(_QDIAG / part) for part in _BETWEEN)
# Where we call the model: frames outside of it belong to whoever asked for the forward, and are no part of the model.
_CALLERS: list[CodeType] = []

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True)
class Source:
    """A place in the user's code; without a line (0), one in a model file, which `function` names."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{_short(self.file)}:{self.line}" if self.line else f"{_short(self.file)}: {self.function}"


def calls_the_model(function: Function) -> Function:
    """Mark a function of ours as the one that calls a user's model: the search for the user's code ends there."""
    _CALLERS.append(function.__code__)
    return function


def is_caller(frame: FrameType) -> bool:
    """True where it is ours and called the model."""
    return any(frame.f_code is caller for caller in _CALLERS)


def calling_source() -> Source | None:
    """The innermost frame of the model that is neither torch's nor ours; None where all are, as in a Sequential."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not is_caller(frame):
        code = frame.f_code
        if code.co_filename.startswith("<eval_with_key>"):
            return _in_graph(frame)
        if not _is_machinery(code.co_filename):
            return Source(code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return None


def _in_graph(frame: FrameType) -> Source | None:
    """The user's line that a node of an fx graph was recorded from, else the node."""
    name = linecache.getline(frame.f_code.co_filename, frame.f_lineno).partition("=")[0].strip()
    module = frame.f_locals.get("self")
    nodes = module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ()
    node = next((node for node in nodes if node.name == name), None)
    return (recorded_source(node) if node is not None else None) or Source(type(module).__name__, 0, name)


def recorded_source(node: torch.fx.Node) -> Source | None:
    """The user's line that a node was recorded from; None where nobody wrote it down."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not frame[0].startswith(_TORCH)]
    if not own:
        return None
    file, line, function = own[-1]
    return Source(file, int(line), function)


_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')


@cache
def _is_machinery(file: str) -> bool:
    return file.startswith((_TORCH, *_OURS, "<frozen", "<string"))


@cache
def _short(file: str) -> str:
    """As a user would say it: a notebook cell's number, else the last two parts of the path."""
    if "ipykernel_" in file:
        return _cell_name(file)
    return "/".join(Path(file).parts[-2:])


def _cell_name(file: str) -> str:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    number = getattr(shell.compile, "_filename_map", {}).get(file) if shell is not None else None
    return f"In [{number}]" if number is not None else "notebook cell"
