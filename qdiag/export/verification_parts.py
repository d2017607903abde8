"""The parts of a verification's report: whether integers agree, how many, where, and what computed them."""

from collections.abc import Mapping, Sequence

from qdiag.export.agreement import AGREEMENT_COLUMNS, SiteAgreement, first_differing
from qdiag.export.integer_runtime import count_integer_kernels, is_integer_kernel
from qdiag.report.cells import Code
from qdiag.report.elements import Callout, Fact, Facts
from qdiag.report.levels import Level
from qdiag.report.table import Column, Table


def rounding_text(target: str, is_exchanged: bool) -> str:
    """How both sides round. is_exchanged: the target rounds half up, and was simulated half to even for the check."""
    if not is_exchanged:
        return "Both sides round half to even."
    return (
        f"Both sides round half to even; the target, {target}, rounds half up, and the simulation was run "
        "with the other rounding for this check."
    )


def agreement_callout(sites: Sequence[SiteAgreement], is_output_equal: bool, rounding: str) -> Callout:
    """Whether all integers are the same, and where they part."""
    first = first_differing(sites)
    if first is None and is_output_equal:
        return Callout("ok", "Every stored integer is the same.", rounding)
    where = f"The first difference is at `{first.site}`. " if first else "Only the results differ. "
    level: Level = "error" if first is None or any(site.off_by_more for site in sites) else "note"
    if level == "error" and any("int16" in site.format for site in sites):
        level, where = "warning", where + _NO_16_BIT_KERNELS
    values = sum(site.values for site in sites)
    differing = values - sum(site.equal for site in sites)
    return Callout(level, f"{differing:,} of {values:,} stored integers differ.", where + rounding)


_NO_16_BIT_KERNELS = (
    "ONNX Runtime's CPU has no integer kernels for 16 bits: its sums and the simulation's are floating-point ones, of "
    "24 bits, and come out a little apart. "
)


def agreement_facts(sites: Sequence[SiteAgreement], outputs_equal_percent: float, kernels: Mapping[str, int]) -> Facts:
    """How many integers were compared, and how they came out."""
    off_by_more = sum(site.off_by_more for site in sites)
    return Facts(
        (
            Fact("integers compared", sum(site.values for site in sites)),
            Fact("off by one", sum(site.off_by_one for site in sites)),
            Fact("off by more", off_by_more, level="error" if off_by_more else None),
            Fact("results equal", outputs_equal_percent, "%", ".2f"),
            Fact("integer kernels", f"{count_integer_kernels(kernels)} of {sum(kernels.values())}"),
        )
    )


def site_table(sites: Sequence[SiteAgreement]) -> Table:
    """Every stored tensor."""
    return Table(AGREEMENT_COLUMNS, tuple(site.cells for site in sites), "Stored tensors", key="sites")


def kernel_table(kernels: Mapping[str, int]) -> Table:
    """Every operator of the network as the runtime optimized it."""
    columns = (
        Column("kernel", "operator"),
        Column("count", "times", align="right"),
        Column("is_integer", "in integers"),
    )
    rows = tuple((Code(name), count, is_integer_kernel(name)) for name, count in kernels.items())
    return Table(columns, rows, key="kernels")
