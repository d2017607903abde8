"""Whether fixed point computes NaN or infinity out of finite numbers, and where."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from qdiag.errors import ModelError
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.operation import Operation
from qdiag.tracing.intercept import is_float, tensors_in
from qdiag.tracing.operations import OperationKind, kind_of
from qdiag.tracing.site import Site


class FiniteGuard:
    """Looks at what operations give that can leave the finite numbers: a division by what rounded to zero, a logarithm.

    What the float network computes too, beside, is no matter of fixed point; nor is an infinity that some operation in
    float takes away again, before it is stored.

    arisen: where it came about first, in the forward under way; None where it did not.
    """

    def __init__(self, plan: QuantPlan) -> None:
        self.plan = plan
        self.begin()

    def begin(self) -> None:
        """Another forward."""
        self.arisen: Site | None = None
        self._is_fixed_alone = False

    def see(self, operation: Operation, result: Any) -> None:
        """An operation has run, and nothing of its result was rounded yet."""
        if self.arisen is not None or not _can_leave(operation.site.op) or all_finite(result):
            return
        made = tensors_in(result)
        given = [tensor for tensor in operation.tensors if not any(tensor is one for one in made)]  # else overwritten
        if all_finite(given) and all_finite(operation.beside):
            self.arisen, self._is_fixed_alone = operation.site, operation.beside is not None

    def store(self, layer: Layer, result: Any) -> None:
        """A layer's result is to be stored. Raises ModelError where it is not finite."""
        if self.arisen is not None and not all_finite(result):
            raise self.error(f"site {str(layer.site)!r} is to store it")

    def end(self, results: Iterable[tuple[Tensor, Tensor]]) -> None:
        """The forward ends; results: the reference's, and this version's. Raises ModelError for what only it has."""
        if self.arisen is not None:
            for reference, result in results:
                if is_float(result) and not all_finite(result) and all_finite(reference):
                    raise self.error("the network's result holds it")

    def error(self, where: str) -> ModelError:
        return ModelError(self.text(where), code="fixed-not-finite")

    def text(self, where: str) -> str:
        """What happened, and what to do."""
        beside = ", and the float model does not" if self._is_fixed_alone else ""
        return (
            f"in fixed point, site {str(self.arisen)!r} computes NaN or infinity from finite numbers{beside}: what it "
            f"divides by, or takes a root or logarithm of, has rounded to 0; and {where}. Give what it reads more "
            f"bits, bits={self._more_bits()}, or bound it there: x.clamp(min=…) by a step of its format, or more."
        )

    def _more_bits(self) -> str:
        read = _stored_before(self.plan, self.arisen)
        return f"{{{''.join(f'{str(site)!r}: 16, ' for site in read)}'*': 8}}" if read else "16"


def all_finite(tree: Any) -> bool:
    """True where no floating-point tensor in it holds NaN or infinity."""
    return all(_is_finite(tensor) for tensor in tensors_in(tree) if is_float(tensor))


def _is_finite(tensor: Tensor) -> bool:
    """A finite sum has finite terms, and takes one pass; one that is not may only be too large."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def _stored_before(plan: QuantPlan, site: Site | None) -> list[Site]:
    """The layers whose stored tensors reach an operation, with nothing stored between."""
    found: dict[Site, None] = {}
    if site is None or site not in plan.trace:
        return []
    ways, seen = list(plan.trace[site].activations), set()
    while ways:
        value = ways.pop()
        layer = None if value.producer is None else plan.by_site.get(value.producer)
        if layer is not None and layer.site != site:
            found[layer.site] = None
        elif value.producer is not None and value.number not in seen:
            seen.add(value.number)
            ways += plan.trace[value.producer].activations
    return list(found)


def _can_leave(op: str) -> bool:
    return op in _LEAVING or kind_of(op) is OperationKind.NORMALIZE


_LEAVING = {
    *("div", "true_divide", "floor_divide", "floordiv", "rfloordiv", "remainder", "fmod", "mod", "rmod"),
    *("reciprocal", "rsqrt", "sqrt", "pow", "rpow", "float_power", "log", "log2", "log10", "log1p"),
    *("logit", "exp", "exp2", "expm1", "sinh", "cosh", "tan", "acos", "asin", "acosh", "atanh", "arccos"),
    *("arcsin", "arccosh", "arctanh", "erfinv", "std", "var", "std_mean", "var_mean", "cosine_similarity"),
    *("addcdiv", "prod", "cumprod", "inverse", "lp_pool1d", "lp_pool2d", "batch_norm", "cdist", "norm"),
    *("vector_norm", "lgamma", "digamma", "polygamma", "xlogy", "logsumexp"),
}
"""Operations that can make NaN or infinity out of numbers such as a network has."""
