"""What `verify` returns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from qdiag.errors import SiteNotFound
from qdiag.export.agreement import AGREEMENT_COLUMNS, SiteAgreement
from qdiag.export.integer_runtime import is_integer_kernel
from qdiag.report.cells import Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Callout, Fact, Facts, Report, Section
from qdiag.report.levels import Level
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class Verification(Displayable):
    """The simulation's integers against those of ONNX Runtime, at every stored tensor.

    sites: in the order of the forward. A value that differs at one site may make others differ after it.
    is_rounding_exchanged: True where the plan's target rounds half up, and was simulated half to even for this check.
    output_values, output_equal: of the network's results, from a run in which nothing inside the network was watched.
    watching_changes: how many of these were others in the run that gave the sites' integers.
    kernels: how often each operator runs in the network as the runtime optimized it.
    """

    model_name: str
    images: int
    target: str
    is_rounding_exchanged: bool
    sites: tuple[SiteAgreement, ...]
    output_values: int
    output_equal: int
    watching_changes: int
    kernels: Mapping[str, int]

    @property
    def values(self) -> int:
        """Integers compared, over all sites."""
        return sum(site.values for site in self.sites)

    @property
    def equal(self) -> int:
        return sum(site.equal for site in self.sites)

    @property
    def off_by_one(self) -> int:
        return sum(site.off_by_one for site in self.sites)

    @property
    def off_by_more(self) -> int:
        return sum(site.off_by_more for site in self.sites)

    @property
    def exit_code(self) -> int:
        """For a shell or CI: 1 where an integer is off by more than one step, else 0."""
        return int(self.off_by_more > 0)

    @property
    def first_differing(self) -> SiteAgreement | None:
        """The first site in the forward's order where a value differs: look there first."""
        return next((site for site in self.sites if site.equal < site.values), None)

    @property
    def integer_kernels(self) -> int:
        """Operators of the optimized network that compute in integers."""
        return sum(count for kernel, count in self.kernels.items() if is_integer_kernel(kernel))

    def site(self, name: Site | str) -> SiteAgreement:
        """The agreement at an address. Raises SiteNotFound."""
        for site in self.sites:
            if site.site == str(name):
                return site
        raise SiteNotFound(f"no stored tensor at {str(name)!r}. List them with verification.to_pandas().")

    def report(self) -> Report:
        """A callout, the counts, every site, and the kernels that ran."""
        title = f"{self.model_name}: simulation against ONNX Runtime, {self.images} images"
        kernels = Section("Kernels that ran", (self._kernel_table(),), collapsed=True)
        blocks = (self._callout(), self._facts(), self._site_table(), kernels)
        data = asdict(self) | {"off_by_one": self.off_by_one, "off_by_more": self.off_by_more}
        return Report(title, blocks, "verification", data)

    def _callout(self) -> Callout:
        rounding = (
            f"Both sides round half to even; the target, {self.target}, rounds half up, and the simulation was run "
            "with the other rounding for this check."
            if self.is_rounding_exchanged
            else "Both sides round half to even."
        )
        first = self.first_differing
        if first is None and self.output_equal == self.output_values:
            return Callout("ok", "Every stored integer is the same.", rounding)
        where = f"The first difference is at `{first.site}`. " if first else "Only the results differ. "
        level: Level = "error" if self.off_by_more or first is None else "note"
        if level == "error" and any("int16" in site.format for site in self.sites):
            level, where = "warning", where + _NO_16_BIT_KERNELS
        differing = self.values - self.equal
        return Callout(level, f"{differing:,} of {self.values:,} stored integers differ.", where + rounding)

    def _facts(self) -> Facts:
        total = sum(self.kernels.values())
        return Facts(
            (
                Fact("integers compared", self.values),
                Fact("off by one", self.off_by_one),
                Fact("off by more", self.off_by_more, level="error" if self.off_by_more else None),
                Fact("results equal", 100 * self.output_equal / max(self.output_values, 1), "%", ".2f"),
                Fact("integer kernels", f"{self.integer_kernels} of {total}"),
            )
        )

    def _site_table(self) -> Table:
        rows = tuple(site.cells for site in self.sites)
        return Table(AGREEMENT_COLUMNS, rows, "Stored tensors", key="sites")

    def _kernel_table(self) -> Table:
        columns = (
            Column("kernel", "operator"),
            Column("count", "times", align="right"),
            Column("is_integer", "in integers"),
        )
        rows = tuple((Code(name), count, is_integer_kernel(name)) for name, count in self.kernels.items())
        return Table(columns, rows, key="kernels")


_NO_16_BIT_KERNELS = (
    "ONNX Runtime's CPU has no integer kernels for 16 bits: its sums and the simulation's are floating-point ones, of "
    "24 bits, and come out a little apart. "
)
