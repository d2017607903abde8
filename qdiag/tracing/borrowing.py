"""What `borrow` lends out of the user's model comes back as it was, also when an exception passes."""

import itertools
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from qdiag.errors import ModelError
from qdiag.progress import Steps
from qdiag.tracing.random_state import Draws, RandomState, kept_random_state
from qdiag.tracing.tensors import version_of

T = TypeVar("T")

# Modes, random states and the stance on compilation are not a thread's own: one thread at a time.
_ONE_THREAD = threading.RLock()

# Where torch keeps a module's tensors and children, in dicts of their own.
_MEMBERS = ("_parameters", "_buffers", "_modules")


def check_module(model: Any) -> None:
    """Raises ModelError for what is no module, and for a module without numbers."""
    if not isinstance(model, nn.Module):
        if isinstance(model, torch.export.ExportedProgram):
            raise ModelError(EXPORTED, code="not-a-module")
        what = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise ModelError(
            f"the model is {what}. Pass an nn.Module, into which the weights have been loaded.", code="not-a-module"
        )
    if is_exported(model):
        raise ModelError(EXPORTED, code="not-a-module")
    for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(
                f"{name} has no shape yet, as its module is lazy. Run the model once on an image first.",
                code="weights-missing",
            )
        if tensor.is_meta:
            raise ModelError(
                f"{name} lies on the 'meta' device and has no numbers. Load the model's weights first.",
                code="weights-missing",
            )


EXPORTED = (
    "the model is an exported program, whose modes torch does not let anybody change. qdiag.load_model(program) gives "
    "the same network under the names of the modules that it was made from."
)


def is_exported(model: Any) -> bool:
    """True for the module of an exported program, `program.module()`, on which torch puts an `eval` that raises."""
    return isinstance(model, torch.fx.GraphModule) and "eval" in vars(model)


@contextmanager
def eagerly() -> Iterator[None]:
    """Run compiled parts of a model eagerly: the operations inside a compiled graph have no addresses."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled in this process, and to load a compiler takes a second
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # Compiled modules have a path twice, their wrapper's and their own: known, and harmless here.
        warnings.filterwarnings("ignore", message=r"Using `torch\.compile\(module\)` when there are global hooks")
        yield


@contextmanager
def without_autocast() -> Iterator[None]:
    """Compute in the tensors' own precision, whatever autocast the caller is in."""
    with ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def borrow(model: nn.Module) -> Iterator[None]:
    """Run the model in eval mode without gradients; then its modes, buffers and attributes are as before.

    So are the random states, see `kept_random_state`. Compiled parts run eagerly meanwhile, and an autocast around does
    not reach it. Raises ModelError where the forward wrote to a parameter: parameters are too large to keep a copy of
    each.
    """
    with _ONE_THREAD:
        attributes = [(module, dict(vars(module)), _members(module)) for module in model.modules()]
        buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
        versions = [(name, parameter, version_of(parameter)) for name, parameter in model.named_parameters()]
        with ExitStack() as stack:
            stack.enter_context(kept_random_state())
            stack.enter_context(torch.no_grad())
            stack.enter_context(eagerly())
            stack.enter_context(without_autocast())
            try:
                model.eval()
                yield
            finally:
                for module, before, members in attributes:
                    _put_back(vars(module), before)
                    for name, member in members.items():
                        _put_back(before[name], member)
                for buffer, value in buffers:
                    if not _same(buffer, value):
                        buffer.copy_(value)
    changed = [name for name, parameter, version in versions if version_of(parameter) != version]
    if changed:
        raise ModelError(
            f"the model's forward writes to its own parameter {changed[0]!r}, in eval mode and without gradients. "
            "qdiag runs the forward several times and cannot undo that: make it a buffer, or write to a copy.",
            code="forward-writes-parameters",
        )


def borrow_stepwise(model: nn.Module, steps: Steps[T]) -> Steps[T]:
    """The steps of long work on a model, which is borrowed while each of them runs and back between two of them.

    So whoever runs the work may look at the model, train it or leave the work unfinished meanwhile. What the work draws
    at random goes on from step to step; work that draws nothing leaves the generators alone.
    """
    drawn: RandomState | None = None
    with closing(steps):
        while True:
            with borrow(model):
                if drawn is not None:
                    drawn.restore()
                draws = Draws()
                try:
                    progress = next(steps)
                except StopIteration as end:
                    value: T = end.value
                    return value
                drawn = RandomState.now() if draws.are_ours else drawn
            yield progress


def _members(module: nn.Module) -> dict[str, dict[str, Any]]:
    return {name: dict(found) for name in _MEMBERS if isinstance(found := vars(module).get(name), dict)}


def _put_back(current: dict[str, Any], before: dict[str, Any]) -> None:
    for name in [name for name in current if name not in before]:
        del current[name]
    for name, value in before.items():
        if current.get(name) is not value:
            current[name] = value


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
