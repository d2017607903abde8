"""The parts of a dump's report: where the device leaves the simulation, what could not be compared, and every site."""

from collections.abc import Sequence

from qdiag.export.agreement import AGREEMENT_COLUMNS
from qdiag.export.dumped_site import DumpedSite
from qdiag.export.dumps.dump import DumpProblem
from qdiag.report.cells import Badge, Code
from qdiag.report.elements import Callout, Fact, Facts, Section, Text
from qdiag.report.table import Column, Table


def verdict_callout(sites: Sequence[DumpedSite], first: DumpedSite | None, passed: bool, problems: int) -> Callout:
    """Whether the device computes the simulation's integers. first: where it leaves them. problems: how many."""
    if not sites:
        return Callout("error", "Nothing could be compared.", "The table says why.")
    rest = f" {problems} tensors could not be compared." if problems else ""
    if first is None:
        if rest:
            return Callout("error", "What could be compared is the same.", rest.strip())
        return Callout("ok", "The device computes the simulation's integers.")
    where = first.agreement
    text = (
        f"{where.values - where.equal:,} of its {where.values:,} integers differ, by up to {where.largest} steps. "
        "Every site compared before it is the same: look at the weights, bias, rounding and scale of this layer." + rest
    )
    return Callout("note" if passed else "error", f"The device leaves the simulation at `{where.site}`.", text)


def site_facts(sites: Sequence[DumpedSite], problems: int) -> Facts:
    """How many integers were compared, and how they came out."""
    agreements = [site.agreement for site in sites]
    return Facts(
        (
            Fact("sites compared", len(agreements)),
            Fact("not compared", problems, level="error" if problems else None),
            Fact("integers compared", sum(a.values for a in agreements)),
            Fact("off by one", sum(a.off_by_one for a in agreements)),
            Fact("off by more", sum(a.off_by_more for a in agreements)),
        )
    )


def problem_table(problems: Sequence[DumpProblem]) -> Table:
    """Every file and stored tensor that could not be compared."""
    columns = (Column("kind", "what"), Column("name", "file or stored tensor"), Column("reason", "why"))
    rows = tuple((Badge(problem.kind, "error"), Code(problem.name), problem.text) for problem in problems)
    return Table(columns, rows, "Not compared", key="problems")


def site_table(sites: Sequence[DumpedSite]) -> Table:
    """Every stored tensor that was compared."""
    versions = tuple(sites[0].sqnr_db) if sites else ()
    columns = (
        *AGREEMENT_COLUMNS,
        Column("to_simulation_db", "SQNR to simulation", "dB", ".1f", "right"),
        *(Column(f"{name}_sqnr_db", f"{name} SQNR", "dB", ".1f", "right") for name in versions),
        Column("file", "file"),
    )
    rows = tuple(
        (*site.agreement.cells, site.to_simulation_db, *site.sqnr_db.values(), Code(site.file)) for site in sites
    )
    return Table(columns, rows, "Stored tensors", "SQNR of the versions is against float.", key="sites")


def beside_section(files: Sequence[str]) -> Section:
    """Files of tensors that the simulation does not store."""
    names = Text(", ".join(f"`{file}`" for file in files))
    return Section("Dumped, and not stored in the simulation", (names,), collapsed=True)
