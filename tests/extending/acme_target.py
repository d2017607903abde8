"""A target of our own: how the Acme accelerator computes."""

from qdiag.numerics.rounding import Rounding
from qdiag.planning.targets.target import Target


class Acme(Target):
    """Rounds half to even, and adds 8-bit products in 24 bits (our accelerator's manual, section 3)."""

    name = "acme"
    rounding = Rounding.HALF_EVEN

    @staticmethod
    def accumulator_bits(activation_bits: int) -> int:
        return 24 if activation_bits <= 8 else 48
