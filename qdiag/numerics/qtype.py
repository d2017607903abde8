"""The integers of a fixed-point number."""

from dataclasses import dataclass

from qdiag.errors import OptionError


@dataclass(frozen=True)
class QType:
    """An integer type: signed 8 bits hold -128 … 127, unsigned 8 bits 0 … 255.

    >>> QType(8, signed=True).qmin, QType(8, signed=False).qmax
    (-128, 255)
    """

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        check_bits(self.bits)

    @property
    def qmin(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def qmax(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"


def check_bits(bits: object) -> None:
    """Refuse what no fixed-point format has.

    Args:
        bits: As a user gave them.

    Raises:
        OptionError: Unless they are 2 to 32, a whole number.

    >>> check_bits(8)
    """
    if not isinstance(bits, int) or not 2 <= bits <= 32:
        raise OptionError(f"{bits!r} bits: a fixed-point format has 2 to 32 bits, a whole number.", code="bits")
