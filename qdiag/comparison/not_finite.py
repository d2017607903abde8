"""Outputs of the float model that hold NaN or infinity, and where these come about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from qdiag.quantization.finite_guard import all_finite
from qdiag.subject import Subject
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import named_leaves
from qdiag.tracing.intercept import Function, Interceptor, is_float, tensors_in
from qdiag.tracing.random_state import kept_random_state
from qdiag.tracing.site import Site


@dataclass(frozen=True)
class NotFinite:
    """An output of the float model with NaN or infinity in it.

    output: its name, "" for the only one. values: how many of them. site: the operation that gave the first; None where
    it did not come about in another run on the same images.
    """

    output: str
    values: int
    site: Site | None

    def __str__(self) -> str:
        name = f"output {self.output!r}" if self.output else "the output"
        where = "" if self.site is None else f", which come about at site {str(self.site)!r}"
        return f"{name} of the float model holds {self.values:,} values that are NaN or infinity{where}"


def not_finite_outputs(subject: Subject, values: Mapping[str, int]) -> tuple[NotFinite, ...]:
    """With their sites, which are looked for in the first batch that shows them.

    values: by the output's name, how many over all images.
    """
    sites = _sites(subject) if values else {}
    return tuple(NotFinite(name, count, sites.get(name)) for name, count in values.items())


def _sites(subject: Subject) -> dict[str, Site]:
    with borrow(subject.model), kept_random_state():
        for batch in subject.data:
            watch = _Origins(subject.model)
            with watch:
                result = forward(subject.model, batch.inputs.map(torch.clone), watch)
            found = {name: watch.origins[leaf] for name, leaf in named_leaves(result) if leaf in watch.origins}
            if found:
                return found
    return {}


class _Origins(Interceptor):
    """Follows NaN and infinity from where they come about. origins: by tensor, the operation that gave the first."""

    def __init__(self, model: torch.nn.Module):
        super().__init__(model)
        self.origins: Any = WeakIdKeyDictionary()

    def operation(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = [self.origins[tensor] for tensor in tensors_in((args, kwargs)) if tensor in self.origins]
        result = function(*args, **kwargs)
        for tensor in tensors_in(result):
            if is_float(tensor) and not all_finite(tensor):
                self.origins[tensor] = given[0] if given else site
        return result
