"""One layer of an integer runtime, judged alone."""

from dataclasses import dataclass

from qdiag.export.agreement import AGREEMENT_COLUMNS, SiteAgreement
from qdiag.report.cells import Code
from qdiag.report.table import Column

NEAR = 0.02
"""Steps beyond half of one that values rounded as floats may be off by."""


@dataclass(frozen=True)
class RuntimeLayer:
    """A layer computed from the runtime's own integers, against what the runtime made of them.

    Attributes:
        agreement: The runtime's integers against those that the simulation computes from the runtime's inputs, over the
            images in which any stored integer differs.
        is_exact: Where they differ, whether the layer adds products of integers that 24 bits hold: both sides then
            have no choice. False for a softmax, a norm or an average, which each side rounds in its own order.
        beyond_rounding: How far outside half a step the runtime's integers lie from the simulation's values before
            rounding, at most.
    """

    agreement: SiteAgreement
    is_exact: bool = False
    beyond_rounding: float = 0.0

    @property
    def differing(self) -> int:
        """How many integers differ."""
        return self.agreement.values - self.agreement.equal

    @property
    def is_wrong(self) -> bool:
        """True where an integer differs that floats cannot have brought to the other side of a rounding."""
        return self.differing > 0 and (self.is_exact or not self.beyond_rounding <= NEAR)

    @property
    def cells(self) -> tuple[Code | str | int | float, ...]:
        """A row of `ALONE_COLUMNS`."""
        return (*self.agreement.cells, self.beyond_rounding, "wrong" if self.is_wrong else "floats at a tie")


ALONE_COLUMNS = (
    *AGREEMENT_COLUMNS,
    Column("beyond_rounding_steps", "beyond a tie", "steps", ".2g", align="right"),
    Column("verdict", "verdict"),
)
