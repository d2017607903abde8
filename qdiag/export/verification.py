"""What `verify` returns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from qdiag.errors import SiteNotFound
from qdiag.export.agreement import SiteAgreement, first_differing
from qdiag.export.integer_runtime import count_integer_kernels
from qdiag.export.runtime_layer import RuntimeLayer
from qdiag.export.verification_parts import (
    agreement_facts,
    alone_callout,
    alone_table,
    equal_callout,
    kernel_table,
    rounding_text,
    site_table,
)
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Report, Section
from qdiag.tracing.site import Site


@dataclass(frozen=True, repr=False)
class Verification(Displayable):
    """The simulation's integers against those of ONNX Runtime, at every stored tensor.

    Attributes:
        model_name: The model's class.
        images: How many ran.
        target: Whose rounding the plan simulates.
        is_rounding_exchanged: True where the plan's target rounds half up, and was simulated half to even for this
            check.
        sites: In the order of the forward. A value that differs at one site may make others differ after it.
        output_values: Values of the network's results, from a run in which nothing inside the network was watched.
        output_equal: How many of them were the same on both sides.
        alone: The layers that differ when computed from the runtime's own integers before them; see `RuntimeLayer`.
        alone_output_differing: Values of the results that differ when computed from the runtime's own integers.
        watching_changes: How many of them were others in the run that gave the sites' integers.
        kernels: How often each operator runs in the network as the runtime optimized it.
        runtime: ONNX Runtime's version.
    """

    model_name: str
    images: int
    target: str
    is_rounding_exchanged: bool
    sites: tuple[SiteAgreement, ...]
    output_values: int
    output_equal: int
    alone: tuple[RuntimeLayer, ...]
    alone_output_differing: int
    watching_changes: int
    kernels: Mapping[str, int]
    runtime: str

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
        """For a shell or CI: 0 where the runtime computes the same network, 1 where it does not.

        So 1 where a layer is wrong when it is computed from the runtime's own integers, and where the results alone
        differ. It is what the report begins with: 0 for what is in order or a note, 1 for an error.
        """
        return int(self._callout.level == "error")

    @property
    def headline(self) -> str:
        """In a sentence, whether the runtime computes the same network."""
        return self._callout.headline

    @property
    def _callout(self) -> Callout:
        rounding = rounding_text(self.target, self.is_rounding_exchanged)
        if first_differing(self.sites) is None:
            return equal_callout(self.output_values - self.output_equal, rounding)
        return alone_callout(self.sites, self.alone, self.alone_output_differing, rounding)

    @property
    def wrong(self) -> tuple[RuntimeLayer, ...]:
        """The layers that compute other integers from the same inputs, in the forward's order."""
        return tuple(layer for layer in self.alone if layer.is_wrong)

    @property
    def first_differing(self) -> SiteAgreement | None:
        """The first site in the forward's order where a value differs: look there first."""
        return first_differing(self.sites)

    @property
    def integer_kernels(self) -> int:
        """Operators of the optimized network that compute in integers."""
        return count_integer_kernels(self.kernels)

    def site(self, name: Site | str) -> SiteAgreement:
        """The agreement at an address.

        Args:
            name: An address.

        Raises:
            SiteNotFound: For one at which nothing is stored.
        """
        for site in self.sites:
            if site.site == str(name):
                return site
        raise SiteNotFound(
            f"no stored tensor at {str(name)!r}. List them with verification.to_pandas().", code="no-site"
        )

    def report(self) -> Report:
        """A callout, the counts, every site, layers that differ alone, and the kernels that ran."""
        title = f"{self.model_name}: simulation against ONNX Runtime {self.runtime}, {self.images} images"
        equal_percent = 100 * self.output_equal / max(self.output_values, 1)
        blocks: tuple[Block, ...] = (
            self._callout,
            agreement_facts(self.sites, len(self.wrong), equal_percent, self.kernels),
            site_table(self.sites),
            *([alone_table(self.alone)] if self.alone else []),
            Section("Kernels that ran", (kernel_table(self.kernels),), collapsed=True),
        )
        data = asdict(self) | {"off_by_one": self.off_by_one, "off_by_more": self.off_by_more}
        return Report(title, blocks, "verification", data)
