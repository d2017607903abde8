"""A stored tensor as a device has it."""

from collections.abc import Mapping
from dataclasses import dataclass

from qdiag.export.agreement import SiteAgreement
from qdiag.export.layer_alone import LayerAlone

DEVICE = "device"


@dataclass(frozen=True)
class DumpedSite:
    """A stored tensor as the device has it.

    agreement: its integers against the simulation's. file: where they were read. sqnr_db: of each version against
    float, the device's last: signal over error power. to_simulation_db: of the device against the simulation. alone:
    the layer judged by itself.
    """

    agreement: SiteAgreement
    file: str
    sqnr_db: Mapping[str, float | None]
    to_simulation_db: float | None
    alone: LayerAlone | None = None
