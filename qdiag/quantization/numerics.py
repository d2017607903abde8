"""What becomes of a network's numbers: the part of a numeric version that differs from one to another."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.merge import NormState, merge
from qdiag.numerics.ready_weight import WeightFacts
from qdiag.planning.layer import Layer


@dataclass(frozen=True)
class OwnWeights:
    """A layer's weight and bias before rounding.

    All of it carries gradients where the model's own parameters do.

    Attributes:
        weight: Output channels first [C, ...].
        bias: [C]; None where there is none.
        norm: The BatchNorm to merge in; None where there is none, or it is in already.
    """

    weight: Float[Tensor, "c ..."]
    bias: Float[Tensor, " c"] | None
    norm: NormState | None = None

    def detached(self) -> "OwnWeights":
        """The same without gradients."""
        bias, norm = self.bias, self.norm
        return OwnWeights(
            self.weight.detach(), None if bias is None else bias.detach(), None if norm is None else norm.detached()
        )

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the one convolution that equals convolution and BatchNorm."""
        return (self.weight, self.bias) if self.norm is None else merge(self.weight, self.bias, self.norm)


@dataclass(frozen=True)
class Operands:
    """What a layer's operation is called with.

    Attributes:
        weight: In the layout that the operation takes.
        bias: [C]; None where there is none.
        facts: What rounding did to the weight, where that is told.
        has_norm: False where BatchNorm is not in them, and runs as the user wrote it.
    """

    weight: Tensor
    bias: Tensor | None
    facts: WeightFacts | None = None
    has_norm: bool = True


class Numerics(ABC):
    """Two answers: what a layer multiplies by, and what it leaves to the layers after it.

    All else is the `Interpreter`'s: which operations belong to a layer, which BatchNorm is merged, where a forward may
    not go. A class of these is abstract or final: a new number system is a new `Numerics`, no change to another one.
    """

    @abstractmethod
    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        """The weight and bias to multiply by and to add, in place of the model's own.

        Args:
            layer: Of the plan.
            own: The model's own, BatchNorm apart.
        """

    @abstractmethod
    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        """What is kept of a layer's result, which may be overwritten; for layers alone that the plan gives a format.

        A new tensor also takes the old one's place where a forward wrote to that, unless a gradient flows through it.

        Where `layer.fuses_bounds`, the ReLU-like operation at the layer's end did not run: the result has to be put
        inside `layer.bounds`.

        Args:
            layer: Of the plan.
            result: What its operations gave.
        """
