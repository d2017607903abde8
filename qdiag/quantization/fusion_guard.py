"""Whether a forward still allows what the plan fused."""

import weakref
from collections.abc import Iterable

from torch import Tensor

from qdiag.errors import ModelError
from qdiag.planning.layer import Layer
from qdiag.tracing.site import Site


class FusionGuard:
    """Holds a forward to its plan: inside a layer, what one operation computes goes to the next one and nowhere else.

    A convolution that is merged with the BatchNorm after it would be silently wrong where a branch of the forward skips
    that BatchNorm.
    """

    def __init__(self, layers: Iterable[Layer]):
        pairs = [pair for layer in layers for pair in zip(layer.sites, layer.sites[1:], strict=False)]
        self.following = dict(pairs)
        self.inner = {after for _, after in pairs}
        self.open: dict[int, tuple[weakref.ref[Tensor], Site]] = {}  # by identity: a result, and where it came from

    def enter(self, site: Site, given: Iterable[Tensor]) -> None:
        """An operation begins. Raises ModelError where its inputs should have gone elsewhere, or it misses its own."""
        arrived = False
        for tensor in given:
            known = self.open.pop(id(tensor), None)
            if known is None or known[0]() is not tensor:
                continue
            arrived = self.following[known[1]] == site
            if not arrived:
                raise self._astray(known[1], f"went to {str(site)!r}")
        if site in self.inner and not arrived:
            before = next(first for first, after in self.following.items() if after == site)
            raise self._astray(before, f"did not go to {str(site)!r}")

    def expected(self, given: Iterable[Tensor]) -> Site | None:
        """The operation that takes one of these tensors, made inside a layer; None where there is none."""
        found = (known for tensor in given if (known := self.open.get(id(tensor))) and known[0]() is tensor)
        return next((self.following[known[1]] for known in found), None)

    def pass_on(self, given: Tensor, same: Tensor) -> None:
        """A tensor goes on as another object, as through a hook on a module's backward.

        given: it as it was. same: it as it goes on.
        """
        known = self.open.pop(id(given), None)
        if known is not None and known[0]() is given:
            self.open[id(same)] = weakref.ref(same), known[1]

    def leave(self, site: Site, result: Tensor | None) -> None:
        """An operation ends."""
        if site in self.following and result is not None:
            self.open[id(result)] = weakref.ref(result), site

    def end(self, outputs: Iterable[Tensor]) -> None:
        """The forward ends. Raises ModelError where it returns what the next operation of a layer was to take."""
        for tensor in outputs:
            known = self.open.get(id(tensor))
            if known is not None and known[0]() is tensor:
                raise self._astray(known[1], "is the model's output")
        self.open.clear()

    def _astray(self, site: Site, what: str) -> ModelError:
        return ModelError(
            f"the forward took another way than when it was traced: the result of {str(site)!r} {what}, while in the "
            f"trace it went to {str(self.following[site])!r} alone. Both ways cannot be one fixed-point network: give "
            "the model inputs that take the same way, or make a model of each.",
            code="forward-changed",
        )
