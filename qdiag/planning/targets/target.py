"""What planning asks of an inference engine, and where all of them are found."""

from typing import Any, ClassVar

from qdiag.numerics.rounding import Rounding
from qdiag.registry import Registry


class Target:
    """An inference engine's fixed point, as far as it changes numbers.

    Attributes:
        name: As the user writes it.
        rounding: Of activations.
        weight_rounding: Of weights, done once by the importer.
    """

    name: ClassVar[str]
    rounding: ClassVar[Rounding]
    weight_rounding: ClassVar[Rounding] = Rounding.HALF_EVEN

    @staticmethod
    def accumulator_bits(activation_bits: int) -> int:
        """The width of the sum that the bias is added to: 32 bits for products of 8-bit numbers, 64 for 16-bit ones.

        Args:
            activation_bits: Of the tensor that the layer reads.
        """
        return 32 if activation_bits <= 8 else 64


def _is_target(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Target) and value is not Target


TARGETS: Registry[type[Target]] = Registry("qdiag.planning.targets", _is_target, lambda target: target.name)
