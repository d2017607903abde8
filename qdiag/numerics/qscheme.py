"""A number format as an engineer states it, before any range is known."""

from dataclasses import dataclass, field
from typing import Any

from qdiag.errors import InputError
from qdiag.numerics.granularity import Granularity, PerChannel, PerTensor
from qdiag.numerics.qtype import check_bits
from qdiag.numerics.rounding import Rounding

MOST_AXES = 5
"""Of the weight of a convolution in three dimensions."""


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

    @property
    def axis(self) -> int | None:
        """Where the channels lie that have a scale each; None where the tensor has one scale.

        >>> QScheme(8).axis, QScheme(8, PerChannel(0)).axis
        (None, 0)
        """
        return self.granularity.axis if isinstance(self.granularity, PerChannel) else None

    def __str__(self) -> str:
        return f"{self.bits}-bit power-of-2 symmetric {self.granularity}"

    def state(self) -> dict[str, Any]:
        """Plain values, to be saved."""
        return {"bits": self.bits, "axis": self.axis, "signed": self.signed, "rounding": self.rounding.value}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "QScheme":
        """The inverse of `state`.

        Args:
            state: What it gave.

        Raises:
            InputError: For values of other types, as from a damaged file.

        >>> QScheme.of_state(QScheme(4, PerChannel(0)).state()) == QScheme(4, PerChannel(0))
        True
        """
        axis, signed = state["axis"], state["signed"]
        if not (axis is None or (type(axis) is int and 0 <= axis < MOST_AXES)) or not isinstance(signed, bool | None):
            raise InputError(
                f"a saved format has the axis {axis!r} and the sign {signed!r}: it is damaged. Take another copy.",
                code="unreadable-file",
            )
        granularity = PerTensor() if axis is None else PerChannel(axis)
        return cls(state["bits"], granularity, signed, Rounding(state["rounding"]))
