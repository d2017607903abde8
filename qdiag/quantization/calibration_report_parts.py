"""The parts of a calibration's report: what it was worth, what each technique gained, and formats by layer."""

import math
from collections.abc import Sequence

from qdiag.quantization.calibration import Applied
from qdiag.quantization.stored_formats import StoredFormat, WideLayer
from qdiag.report.cells import Cell, Code
from qdiag.report.elements import Callout, Section
from qdiag.report.table import Column, Table

SHOWN_GAINS = 10


def outcome_callout(applied: Sequence[Applied]) -> Callout:
    """How far the outputs came, and by what."""
    if not applied:
        return Callout("note", "Ranges by minimum and maximum; weights as they are.")
    first, last = applied[0].before.output_db, applied[-1].reached.output_db
    kept = ", ".join(one.name for one in applied if one.kept) or "nothing"
    text = f"Outputs went from {first:.1f} to {last:.1f} dB on calibration images. Kept: {kept}."
    return Callout("ok", text, "compare() on other images, and your labels, tell what that is worth.")


def technique_table(applied: Sequence[Applied]) -> Table:
    """How near to float the outputs were before and after each technique."""
    columns = (
        Column("technique", "Technique"),
        Column("title", "What it does"),
        Column("before_db", "Output before", "dB", ".1f", "right"),
        Column("after_db", "after", "dB", ".1f", "right"),
        Column("kept", "Kept"),
    )
    rows = tuple((a.name, a.title, a.before.output_db, a.after.output_db, "yes" if a.kept else "no") for a in applied)
    return Table(columns, rows, "Techniques", "SQNR of the outputs on the first calibration images.", "techniques")


def wide_table(wide: Sequence[WideLayer]) -> Table:
    """Layers with more bits, and what they cost."""
    columns = (
        Column("site", "Layer"),
        Column("kind", "Kind"),
        Column("weight_bits", "Weights", "bit", "", "right"),
        Column("output_bits", "Stored", "bit", "", "right"),
        Column(
            "cost_percent", "Of all MACs", "%", ".2f", "right", "A layer without weights counts one for each value."
        ),
    )
    rows = tuple((Code(w.site), w.title, w.weight_bits, w.output_bits, w.cost_percent) for w in wide)
    title = f"{len(wide)} layers with more bits, {sum(w.cost_percent for w in wide):.1f} % of the MACs"
    return Table(columns, rows, title, "A layer without weights counts one for each value that it stores.", "wide")


def gain_section(applied: Applied) -> Section:
    """The layers whose stored tensors a technique brought nearest to float, or furthest from it."""
    before, after = applied.before.layers, applied.after.layers
    gains = sorted((after[s] - before[s], str(s)) for s in after if math.isfinite(after[s] - before.get(s, math.inf)))
    worst, best = gains[: SHOWN_GAINS // 2], gains[::-1][:SHOWN_GAINS]
    chosen = dict.fromkeys(best + [entry for entry in worst if entry[0] < 0])
    columns = (Column("site", "Layer"), Column("gain_db", "SQNR gained", "dB", "+.1f", "right"))
    rows: tuple[tuple[Cell, ...], ...] = tuple((Code(site), gain) for gain, site in chosen)
    title = f"{applied.name}: what it gained by layer"
    return Section(title, (Table(columns, rows, key=f"gains_{applied.name}"),), collapsed=True)


def format_table(formats: Sequence[StoredFormat]) -> Table:
    """The format of every stored tensor, with its reason."""
    columns = (
        Column("site", "Layer"),
        Column("kind", "Kind"),
        Column("format", "Stored as"),
        Column("reason", "Why"),
        Column("seen_low", "Least", "", ".3g", "right", "On the calibration images."),
        Column("seen_high", "Greatest", "", ".3g", "right"),
        Column("headroom_bits", "Headroom", "bits", "+.1f", "right", "Unused where positive, clipped where negative."),
        Column("clipped_percent", "Clipped", "%", ".2g", "right", "Of the float values, on the first images."),
        Column("shifts", "Shifts", "", "", "right", "Powers of two that channels are multiplied by."),
    )
    rows = tuple(
        (
            *(Code(f.site), f.title, f.format, f.reason, f.seen.low, f.seen.high, f.headroom_bits),
            *(f.clipped_percent, "" if f.shifts == (0, 0) else f"{f.shifts[0]} … {f.shifts[1]}"),
        )
        for f in formats
    )
    return Table(columns, rows, "Formats", "", "formats")


def floating_section(floating: Sequence[tuple[str, str]]) -> Section:
    """What stays in float, and why."""
    columns = (Column("site", "Operation"), Column("reason", "Why"))
    rows = tuple((Code(site), reason) for site, reason in floating)
    return Section(f"In float ({len(rows)})", (Table(columns, rows, key="floating"),), collapsed=True)
