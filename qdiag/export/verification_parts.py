"""The parts of a verification's report: whether integers agree, how many, where, and what computed them."""

from collections.abc import Mapping, Sequence

from qdiag.export.agreement import AGREEMENT_COLUMNS, SiteAgreement
from qdiag.export.integer_runtime import count_integer_kernels, is_integer_kernel
from qdiag.export.runtime_layer import ALONE_COLUMNS, RuntimeLayer
from qdiag.report.cells import Code
from qdiag.report.elements import Callout, Fact, Facts
from qdiag.report.table import Column, Table


def rounding_text(target: str, is_exchanged: bool) -> str:
    """How both sides round. is_exchanged: the target rounds half up, and was simulated half to even for the check."""
    if not is_exchanged:
        return "Both sides round half to even."
    return (
        f"Both sides round half to even; the target, {target}, rounds half up, and the simulation was run "
        "with the other rounding for this check."
    )


def equal_callout(outputs_differing: int, rounding: str) -> Callout:
    """Where every stored integer is the same. outputs_differing: values of the results that are others all the same."""
    if not outputs_differing:
        return Callout("ok", "Every stored integer is the same.", rounding)
    return Callout("error", f"{outputs_differing:,} of the results' values differ.", f"{_ONLY_RESULTS} {rounding}")


def alone_callout(
    sites: Sequence[SiteAgreement], alone: Sequence[RuntimeLayer], outputs_differing: int, rounding: str
) -> Callout:
    """Where stored integers differ: whether layers do, from the runtime's own integers, or their inputs alone."""
    wrong, count = [layer for layer in alone if layer.is_wrong], sum(layer.differing for layer in alone)
    if wrong:
        first = wrong[0].agreement
        headline = f"{len(wrong)} of {len(sites)} layers compute other integers from the same inputs."
        where = (
            f"The first is `{first.site}`: {wrong[0].differing:,} of {first.values:,} differ, by up to {first.largest}."
        )
        return Callout("error", headline, f"{where} {rounding}")
    if outputs_differing:
        headline = f"{outputs_differing:,} of the results' values differ, computed from the same integers."
        return Callout("error", headline, f"{_ONLY_RESULTS} {rounding}")
    behind = sum(site.values - site.equal for site in sites)
    fall = "integer falls" if count == 1 else "integers fall"
    headline = f"The same network: {count:,} {fall} to the other side of a rounding."
    text = (
        f"From the runtime's own inputs, {len(alone)} of {len(sites)} layers differ, each by one step where floats lie "
        f"at a tie; the first is `{alone[0].agreement.site}`. With what is computed from those, {behind:,} of "
        f"{sum(site.values for site in sites):,} stored integers are others. {rounding}"
    )
    return Callout("note", headline, text)


_ONLY_RESULTS = "Only the results differ: look at what is computed behind the last stored tensor."


def agreement_facts(
    sites: Sequence[SiteAgreement], wrong: int, outputs_equal_percent: float, kernels: Mapping[str, int]
) -> Facts:
    """How many integers were compared, and how they came out. wrong: layers."""
    return Facts(
        (
            Fact("integers compared", sum(site.values for site in sites)),
            Fact("off by one", sum(site.off_by_one for site in sites)),
            Fact("off by more", sum(site.off_by_more for site in sites)),
            Fact("wrong layers", wrong, level="error" if wrong else None),
            Fact("results equal", outputs_equal_percent, "%", ".2f"),
            Fact("integer kernels", f"{count_integer_kernels(kernels)} of {sum(kernels.values())}"),
        )
    )


def site_table(sites: Sequence[SiteAgreement]) -> Table:
    """Every stored tensor."""
    return Table(AGREEMENT_COLUMNS, tuple(site.cells for site in sites), "Stored tensors", key="sites")


def alone_table(alone: Sequence[RuntimeLayer]) -> Table:
    """The layers that differ from the runtime's own inputs."""
    rows = tuple(layer.cells for layer in alone)
    return Table(ALONE_COLUMNS, rows, "Layers that differ, computed from the runtime's own integers", key="alone")


def kernel_table(kernels: Mapping[str, int]) -> Table:
    """Every operator of the network as the runtime optimized it."""
    columns = (
        Column("kernel", "operator"),
        Column("count", "times", align="right"),
        Column("is_integer", "in integers"),
    )
    rows = tuple((Code(name), count, is_integer_kernel(name)) for name, count in kernels.items())
    return Table(columns, rows, key="kernels")
