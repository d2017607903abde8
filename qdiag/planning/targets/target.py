"""What planning asks of an inference engine, and where all of them are found."""

from typing import Any, ClassVar

from qdiag.numerics.rounding import Rounding
from qdiag.registry import Registry


class Target:
    """An inference engine's fixed point, as far as it changes numbers.

    name: as the user writes it. rounding: of activations. weight_rounding: of weights, done once by the importer.
    accumulator_bits: width of the sum that the bias is added to, by the bits of the activations.
    """

    name: ClassVar[str]
    rounding: ClassVar[Rounding]
    weight_rounding: ClassVar[Rounding] = Rounding.HALF_EVEN

    @staticmethod
    def accumulator_bits(activation_bits: int) -> int:
        """Products of two 8-bit numbers are summed in 32 bits, of two 16-bit numbers in 64."""
        return 32 if activation_bits <= 8 else 64


def _is_target(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Target) and value is not Target


TARGETS: Registry[type[Target]] = Registry("qdiag.planning.targets", _is_target, lambda target: target.name)
