"""What `compare_dump` returns."""

from dataclasses import asdict, dataclass

from qdiag.errors import SiteNotFound
from qdiag.export.device_errors_parts import beside_section, problem_table, site_facts, site_table, verdict_callout
from qdiag.export.dumped_site import DumpedSite
from qdiag.export.dumps.dump import DumpProblem
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
    """

    model_name: str
    images: int
    simulation: str
    sites: tuple[DumpedSite, ...]
    problems: tuple[DumpProblem, ...]
    beside: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True where every stored tensor was compared, and no integer is off by more than one step."""
        return bool(self.sites) and not self.problems and not any(s.agreement.off_by_more for s in self.sites)

    @property
    def exit_code(self) -> int:
        """For a shell or CI: 0 where it passed, else 1."""
        return int(not self.passed)

    @property
    def first_differing(self) -> DumpedSite | None:
        """The first site in the forward's order where the device leaves the simulation: look there first."""
        return next((site for site in self.sites if site.agreement.equal < site.agreement.values), None)

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
        """A callout, what could not be compared, and every site."""
        title = f"{self.model_name}: device against simulation, {self.images} images"
        blocks: list[Block] = [
            verdict_callout(self.sites, self.first_differing, self.passed, len(self.problems)),
            site_facts(self.sites, len(self.problems)),
        ]
        if self.problems:
            blocks.append(problem_table(self.problems))
        blocks.append(site_table(self.sites))
        if self.beside:
            blocks.append(beside_section(self.beside))
        return Report(title, tuple(blocks), "dump", {"passed": self.passed, **asdict(self)})
