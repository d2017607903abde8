"""One layer of a device, judged alone."""

from dataclasses import dataclass, replace

from qdiag.export.agreement import SiteAgreement
from qdiag.numerics.look_alikes import LookAlike


@dataclass(frozen=True)
class LayerAlone:
    """A layer computed from the device's own inputs, against what the device made of them.

    Attributes:
        agreement: The device's integers against those that the simulation computes from the device's inputs.
        looks_like: What the difference looks like; None where there is none.
        is_wrong: True where it is more than another rounding of ties.
        output_percent: With this layer's difference alone put into the simulation, the power of the output's change in
            % of that of the device's whole error; None where there is no difference, or no error.
        judged_with: Layers between the device's inputs and this one, whose tensors are not known: what differs may be
            theirs.
    """

    agreement: SiteAgreement
    looks_like: LookAlike | None = None
    is_wrong: bool = False
    output_percent: float | None = None
    judged_with: tuple[str, ...] = ()

    @property
    def differing(self) -> int:
        """How many integers differ."""
        return self.agreement.values - self.agreement.equal

    def with_output(self, percent: float | None) -> "LayerAlone":
        """The same, with its part of the output's error.

        Args:
            percent: Of the error's power.
        """
        return replace(self, output_percent=percent)
