"""Callables that look on while a network runs."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from qdiag.planning.layer import Layer
from qdiag.quantization.numerics import Operands
from qdiag.quantization.operation import Operation


@dataclass(frozen=True)
class Watchers:
    """Called in this order for each layer; what is None is not called.

    Attributes:
        arriving: With a weighted layer's operation, with the layer's inputs and the model's own weights, before it is
            carried out.
        multiplied: With what the operation is called with in their place.
        weighted: With the operation and its result; a tensor that it gives back takes the result's place.
        stored: With what the layer leaves to the layers after it, the network's inputs among them.
    """

    arriving: Callable[[Layer, Operation], None] | None = None
    multiplied: Callable[[Layer, Operands], None] | None = None
    weighted: Callable[[Layer, Operation, Tensor], Tensor | None] | None = None
    stored: Callable[[Layer, Tensor], None] | None = None
