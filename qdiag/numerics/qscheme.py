"""A number format as an engineer states it, before any range is known."""

from dataclasses import dataclass, field

from qdiag.numerics.granularity import Granularity, PerTensor
from qdiag.numerics.qtype import check_bits
from qdiag.numerics.rounding import Rounding


@dataclass(frozen=True)
class QScheme:
    """Power-of-two scale, symmetric around zero.

    signed: None lets the tensor's own sign decide. Raises OptionError for bits that no format has.
    """

    bits: int = 8
    granularity: Granularity = field(default_factory=PerTensor)
    signed: bool | None = None
    rounding: Rounding = Rounding.HALF_UP

    def __post_init__(self) -> None:
        check_bits(self.bits)

    def __str__(self) -> str:
        return f"{self.bits}-bit power-of-2 symmetric {self.granularity}"
