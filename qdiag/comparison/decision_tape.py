"""Integers and masks that a forward makes of floating tensors, made again of a lane's."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from qdiag.tracing.intercept import exchange_tensors, tensors_in

Twin = Callable[[Tensor], Tensor]


class DecisionTape(TorchFunctionMode):
    """Writes down how tensors of integers and truth values came about, while a lockstep runs inside.

    A lockstep keeps indices and masks of the reference in every lane, so that all take the same way. Where one is an
    output it has to be seen what the lane itself would have decided: `decided` repeats the operations, from the last
    floating tensors on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: Any = WeakIdKeyDictionary()  # a decision -> how it was made, and which of the results it is

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for position, tensor in enumerate(tensors_in(result)):
            given = tensors_in((args, kwargs or {}))
            is_new = all(tensor is not other for other in given)
            if is_decision(tensor) and is_new and any(_is_followed(other, self.made) for other in given):
                self.made[tensor] = (func, args, kwargs or {}, position)
        return result

    def decided(self, tensor: Tensor, twin: Twin) -> Tensor | None:
        """What a lane would have decided; None where that cannot be told.

        twin: the lane's own tensor for one of the reference's.
        """
        if tensor not in self.made:
            return None
        func, args, kwargs, position = self.made[tensor]

        def own(given: Tensor) -> Tensor:
            if not is_decision(given):
                return twin(given)
            found = self.decided(given, twin)
            return given if found is None else found

        try:
            with torch.no_grad():
                args, kwargs = exchange_tensors((args, kwargs), own)
                return tensors_in(func(*args, **kwargs))[position]
        except (RuntimeError, IndexError):  # another number of things was chosen in this lane
            return None

    def before(self, tensor: Tensor) -> list[Tensor]:
        """The floating tensors that a decision was made from."""
        if tensor not in self.made:
            return []
        _, args, kwargs, _ = self.made[tensor]
        found: list[Tensor] = []
        for given in tensors_in((args, kwargs)):
            found += self.before(given) if is_decision(given) else [given]
        return found


def is_decision(tensor: Tensor) -> bool:
    """True for integers and truth values."""
    return not tensor.is_floating_point() and not tensor.is_complex()


def _is_followed(tensor: Tensor, made: Any) -> bool:
    return tensor.is_floating_point() or tensor in made
