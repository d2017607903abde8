"""Mixed precision by a budget, in place of layers by name."""

from dataclasses import dataclass

from qdiag.errors import OptionError
from qdiag.planning.widths import Widths


@dataclass(frozen=True)
class MacBudget:
    """At most so many percent of the network's multiply-accumulates in 16 bit: `bits=MacBudget(percent=5)`.

    `calibrate` chooses the layers, by how much each takes the network's output from float for what it costs. A layer
    without weights counts one for each value that it stores.

    Args:
        percent: Of the multiply-accumulates, more than 0 and at most 100.
        raised: Bits of the chosen layers.
        others: Bits of all other layers.

    Raises:
        OptionError: For what is no percentage.

    >>> print(MacBudget(percent=5))
    8-bit, 5 % of MACs in 16
    """

    percent: float
    raised: int | Widths = 16
    others: int | Widths = 8

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise OptionError(
                f"{self.percent} percent of the MACs: the budget is more than 0, and at most 100.", code="budget"
            )

    def __str__(self) -> str:
        return f"{self.others}-bit, {self.percent:g} % of MACs in {self.raised}"
