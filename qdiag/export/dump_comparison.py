"""What `compare_dump` returns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from qdiag.errors import SiteNotFound
from qdiag.export.agreement import AGREEMENT_COLUMNS, SiteAgreement
from qdiag.export.dumps.dump import DumpProblem
from qdiag.report.cells import Badge, Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Fact, Facts, Report, Section, Text
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site

DEVICE = "device"


@dataclass(frozen=True)
class DumpedSite:
    """A stored tensor as the device has it.

    agreement: its integers against the simulation's. file: where they were read. sqnr_db: of each version against
    float, the device's last: signal over error power. to_simulation_db: of the device against the simulation.
    """

    agreement: SiteAgreement
    file: str
    sqnr_db: Mapping[str, float | None]
    to_simulation_db: float | None


@dataclass(frozen=True, repr=False)
class DumpComparison(Displayable):
    """A device's tensors beside float, 16 bits and the simulation.

    simulation: its label, as "8-bit". sites: those compared, in the order of the forward. problems: every stored tensor
    and every file that could not be compared, with the reason; none of them counts as equal. beside: files of tensors
    that the network has and the simulation does not store, as a reshaped one.
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
        """What was compared at an address. Raises SiteNotFound."""
        for site in self.sites:
            if site.agreement.site == str(name):
                return site
        raise SiteNotFound(f"nothing was compared at {str(name)!r}. List it with comparison.to_pandas().")

    def report(self) -> Report:
        """A callout, what could not be compared, and every site."""
        title = f"{self.model_name}: device against simulation, {self.images} images"
        blocks: list[Block] = [self._callout(), self._facts()]
        if self.problems:
            blocks.append(self._problem_table())
        blocks.append(self._site_table())
        if self.beside:
            files = Text(", ".join(f"`{file}`" for file in self.beside))
            blocks.append(Section("Dumped, and not stored in the simulation", (files,), collapsed=True))
        return Report(title, tuple(blocks), "dump", {"passed": self.passed, **asdict(self)})

    def _callout(self) -> Callout:
        first = self.first_differing
        if not self.sites:
            return Callout("error", "Nothing could be compared.", "The table says why.")
        rest = f" {len(self.problems)} tensors could not be compared." if self.problems else ""
        if first is None:
            if rest:
                return Callout("error", "What could be compared is the same.", rest.strip())
            return Callout("ok", "The device computes the simulation's integers.")
        where = first.agreement
        text = (
            f"{where.values - where.equal:,} of its {where.values:,} integers differ, by up to {where.largest} steps. "
            "Every site compared before it is the same: look at the weights, bias, rounding and scale of this layer."
            + rest
        )
        return Callout("note" if self.passed else "error", f"The device leaves the simulation at `{where.site}`.", text)

    def _facts(self) -> Facts:
        agreements = [site.agreement for site in self.sites]
        return Facts(
            (
                Fact("sites compared", len(agreements)),
                Fact("not compared", len(self.problems), level="error" if self.problems else None),
                Fact("integers compared", sum(a.values for a in agreements)),
                Fact("off by one", sum(a.off_by_one for a in agreements)),
                Fact("off by more", sum(a.off_by_more for a in agreements)),
            )
        )

    def _problem_table(self) -> Table:
        columns = (Column("kind", "what"), Column("name", "file or stored tensor"), Column("reason", "why"))
        rows = tuple((Badge(problem.kind, "error"), Code(problem.name), problem.text) for problem in self.problems)
        return Table(columns, rows, "Not compared", key="problems")

    def _site_table(self) -> Table:
        versions = tuple(self.sites[0].sqnr_db) if self.sites else ()
        columns = (
            *AGREEMENT_COLUMNS,
            Column("to_simulation_db", "SQNR to simulation", "dB", ".1f", "right"),
            *(Column(f"{name}_sqnr_db", f"{name} SQNR", "dB", ".1f", "right") for name in versions),
            Column("file", "file"),
        )
        rows = tuple(
            (*site.agreement.cells, site.to_simulation_db, *site.sqnr_db.values(), Code(site.file))
            for site in self.sites
        )
        return Table(columns, rows, "Stored tensors", "SQNR of the versions is against float.", key="sites")
