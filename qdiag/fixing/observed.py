"""What every module of a network was given and gave, in one forward."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.intercept import exchange_tensors, tensors_in


@dataclass(frozen=True)
class Seen:
    """One call of a module: what it was given, and what it gave."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any

    def copies(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, for a forward that may write to them."""
        args, kwargs = exchange_tensors((self.args, self.kwargs), torch.clone)
        return args, kwargs


def observed(model: nn.Module, inputs: Inputs, paths: Collection[str]) -> dict[str, Seen]:
    """The first call of each of these modules, in eval mode; without those that did not run.

    Args:
        model: A module.
        inputs: What it is called with.
        paths: Of modules.
    """
    found: dict[str, Seen] = {}
    given: dict[str, Any] = {}
    handles = []
    for path in paths:
        module = model.get_submodule(path)

        def before(_: nn.Module, args: Any, kwargs: Any, path: str = path) -> None:
            given.setdefault(path, exchange_tensors((args, kwargs), torch.clone))

        def after(_: nn.Module, args: Any, kwargs: Any, result: Any, path: str = path) -> None:
            found.setdefault(path, Seen(given[path][0], given[path][1], exchange_tensors(result, torch.clone)))

        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True))
    try:
        with borrow(model):
            forward(model, inputs.to_device_of(model).map(torch.clone))
    finally:
        for handle in handles:
            handle.remove()
    return found


def difference(reference: Any, other: Any) -> float:
    """The largest relative difference of two results' tensors, by the norm of each; infinite where they do not match.

    >>> difference(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5]))
    0.1
    """
    pairs = tensors_in(reference), tensors_in(other)
    if [one.shape for one in pairs[0]] != [one.shape for one in pairs[1]]:
        return float("inf")
    return max((_apart(one, two) for one, two in zip(*pairs, strict=True)), default=0.0)


def _apart(reference: Tensor, other: Tensor) -> float:
    if not reference.is_floating_point():
        return 0.0 if torch.equal(reference, other) else float("inf")
    error = float((other.double() - reference.double()).norm())
    return error / max(float(reference.double().norm()), 1e-30) if error else 0.0
