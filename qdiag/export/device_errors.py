"""What `compare_dump` returns."""

import itertools
from dataclasses import asdict, dataclass

from qdiag.errors import SiteNotFound
from qdiag.export.device_errors_parts import (
    alone_table,
    beside_section,
    problem_table,
    rounding_callout,
    site_facts,
    site_table,
    verdict_callout,
)
from qdiag.export.dumped_site import DumpedSite
from qdiag.export.dumps.dump import DumpProblem
from qdiag.numerics.device_roundings import OF_TIES
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Report
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class DumpComparison(Displayable):
    """A device's tensors beside float, 16 bits and the simulation.

    Attributes:
        model_name: The model's class.
        images: How many were compared.
        simulation: Its label, as "8-bit".
        sites: Those compared, in the order of the forward.
        problems: Every stored tensor and every file that could not be compared, with the reason; none of them counts as
            equal.
        beside: Files of tensors that the network has and the simulation does not store, as a reshaped one.
        rounding: How the device rounds in most layers, in words.
        simulated_rounding: How the simulation does.
    """

    model_name: str
    images: int
    simulation: str
    sites: tuple[DumpedSite, ...]
    problems: tuple[DumpProblem, ...]
    beside: tuple[str, ...] = ()
    rounding: str = ""
    simulated_rounding: str = ""

    @property
    def passed(self) -> bool:
        """True where every stored tensor was compared, none is off by more than one step, and no layer is wrong."""
        is_near = bool(self.sites) and not any(site.agreement.off_by_more for site in self.sites)
        return is_near and not self.problems and not self.wrong and not self.is_biased

    @property
    def is_biased(self) -> bool:
        """True where the device rounds most layers down, up or toward zero: errors of one sign add up."""
        return self.rounding not in {"", self.simulated_rounding, *OF_TIES}

    @property
    def exit_code(self) -> int:
        """For a shell or CI: 0 where it passed, else 1."""
        return int(not self.passed)

    @property
    def wrong(self) -> tuple[DumpedSite, ...]:
        """Layers that the device computes wrong from its own inputs, by more than another rounding of ties."""
        return tuple(site for site in self.sites if site.alone is not None and site.alone.is_wrong)

    @property
    def first_differing(self) -> DumpedSite | None:
        """The layer to look at first: the first wrong one, else the first that differs by itself, else at all."""
        alone = (site for site in self.sites if site.alone is not None and site.alone.differing)
        at_all = (site for site in self.sites if site.agreement.equal < site.agreement.values)
        return next(itertools.chain(self.wrong, alone, at_all), None)

    def site(self, name: Site | str) -> DumpedSite:
        """What was compared at an address.

        Args:
            name: An address.

        Raises:
            SiteNotFound: For one at which nothing was compared.
        """
        for site in self.sites:
            if site.agreement.site == str(name):
                return site
        raise SiteNotFound(
            f"nothing was compared at {str(name)!r}. List it with comparison.to_pandas().", code="no-site"
        )

    def report(self) -> Report:
        """Callouts, what could not be compared, every layer that differs by itself, and every site."""
        title = f"{self.model_name}: device against simulation, {self.images} images"
        blocks: list[Block] = [
            verdict_callout(self.sites, self.first_differing, self.passed, len(self.problems)),
            *rounding_callout(self.sites, self.rounding, self.simulated_rounding),
            site_facts(self.sites, len(self.problems)),
        ]
        if self.problems:
            blocks.append(problem_table(self.problems))
        if any(site.alone is not None and site.alone.differing for site in self.sites):
            blocks.append(alone_table(self.sites))
        blocks.append(site_table(self.sites))
        if self.beside:
            blocks.append(beside_section(self.beside))
        return Report(title, tuple(blocks), "dump", {"passed": self.passed, **asdict(self)})
