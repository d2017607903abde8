"""The parts of a dump's report: where the device leaves the simulation, what could not be compared, and every site."""

from collections.abc import Sequence

from qdiag.export.agreement import AGREEMENT_COLUMNS
from qdiag.export.dumped_site import DumpedSite
from qdiag.export.dumps.dump import DumpProblem
from qdiag.export.layer_alone import LayerAlone
from qdiag.report.cells import Badge, Code
from qdiag.report.elements import Callout, Fact, Facts, Level, Section, Text
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
    headline = f"The device leaves the simulation at `{first.agreement.site}`."
    return Callout("note" if passed else "error", headline, _words(first) + _others(sites, first) + rest)


def _words(first: DumpedSite) -> str:
    """What is known of the layer to look at."""
    alone = first.alone
    if alone is None or not alone.differing:
        where = first.agreement
        return (
            f"{where.values - where.equal:,} of its {where.values:,} integers differ, by up to {where.largest} steps."
        )
    own = alone.agreement
    text = (
        f"From the device's own inputs {alone.differing:,} of {own.values:,} integers differ, by up to {own.largest} "
    )
    text += "steps."
    if alone.looks_like is not None:
        text += f" It looks like: {alone.looks_like.text}."
    if alone.output_percent is not None:
        text += f" This alone makes {alone.output_percent:.0f} % of the error at the output."
    if alone.judged_with:
        names = ", ".join(f"`{name}`" for name in alone.judged_with)
        text += f" It was computed from our own {names}, not known of the device: the difference may be of these."
    return text


def _others(sites: Sequence[DumpedSite], first: DumpedSite) -> str:
    """The other wrong layers, and that the rest is right."""
    if first.alone is None:
        return ""
    if not first.alone.is_wrong:
        return " No layer differs by more than its rounding." if first.alone.differing else ""
    more = [site.agreement.site for site in sites if site.alone and site.alone.is_wrong and site is not first]
    if not more:
        return " Every other layer that was compared is right, given the device's inputs."
    if len(more) == 1:
        return f" Another layer is wrong too, given the device's inputs: `{more[0]}`."
    shown = ", ".join(f"`{name}`" for name in more[:_NAMED]) + (" …" if len(more) > _NAMED else "")
    return f" {len(more)} more layers are wrong, given the device's inputs: {shown}."


_NAMED = 3


def rounding_callout(sites: Sequence[DumpedSite], rounding: str, simulated: str) -> list[Callout]:
    """How the device rounds, where that is not as the simulation does."""
    differing = [site for site in sites if site.alone and site.alone.differing and not site.alone.is_wrong]
    if rounding == simulated or not differing:
        return []
    layers = "One layer differs" if len(differing) == 1 else f"{len(differing)} layers differ"
    text = f"{layers} by nothing else. Calibrate for a target that rounds so, where there is one."
    headline = f"The device rounds {rounding}, and the simulation {simulated}."
    level: Level = "note" if rounding.startswith("half") else "error"
    return [Callout(level, headline, text)]


def site_facts(sites: Sequence[DumpedSite], problems: int) -> Facts:
    """How many integers were compared, and how they came out."""
    agreements = [site.agreement for site in sites]
    wrong = sum(site.alone is not None and site.alone.is_wrong for site in sites)
    return Facts(
        (
            Fact("sites compared", len(agreements)),
            Fact("not compared", problems, level="error" if problems else None),
            Fact("integers compared", sum(a.values for a in agreements)),
            Fact("off by one", sum(a.off_by_one for a in agreements)),
            Fact("off by more", sum(a.off_by_more for a in agreements)),
            Fact("wrong layers", wrong, level="error" if wrong else None),
        )
    )


def alone_table(sites: Sequence[DumpedSite]) -> Table:
    """Every layer that differs when it is computed from the device's own inputs."""
    columns = (
        Column("site", "layer"),
        Column("verdict", "verdict"),
        Column("differing", "differ", align="right"),
        Column("largest_steps", "largest", "steps", align="right"),
        Column("kind", "kind"),
        Column("looks_like", "looks like"),
        Column("explained_percent", "explains", "%", ".1f", "right"),
        Column("output_percent", "of the output's error", "%", ".1f", "right"),
        Column("judged_with", "judged with"),
    )
    rows = tuple(_alone_row(site.alone) for site in sites if site.alone is not None and site.alone.differing)
    text = "Each computed from what the device computed it from. The last column: layers whose tensors are not known."
    return Table(columns, rows, "Layers that differ by themselves", text, key="alone")


def _alone_row(alone: LayerAlone) -> tuple[Code | Badge | str | int | float | None, ...]:
    looks_like = alone.looks_like
    verdict = Badge("wrong", "error") if alone.is_wrong else Badge("rounding", "note")
    told = (
        (None, None, None) if looks_like is None else (looks_like.kind, looks_like.text, looks_like.explained_percent)
    )
    own = alone.agreement
    return (
        Code(own.site),
        verdict,
        alone.differing,
        own.largest,
        *told,
        alone.output_percent,
        ", ".join(alone.judged_with),
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
