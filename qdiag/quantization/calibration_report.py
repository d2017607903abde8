"""What calibration did, shown."""

import math
from dataclasses import dataclass

from qdiag.numerics.qparams import QParams
from qdiag.numerics.ranges.range import Range
from qdiag.planning.cost import share_percent
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Applied
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.report.blocks import Block, Callout, Report, Section
from qdiag.report.cells import Cell, Code
from qdiag.report.displayable import Displayable
from qdiag.report.table import Column, Table

SHOWN_GAINS = 10


@dataclass(frozen=True)
class StoredFormat:
    """A stored tensor's format. seen: its extremes on the calibration images, at the scale that it is stored at.

    shifts: least and greatest power of two that its channels are multiplied by. saturated: bias channels that do not
    fit the accumulator.
    """

    site: str
    title: str
    format: str
    seen: Range
    headroom_bits: float
    shifts: tuple[int, int]
    saturated: int


@dataclass(frozen=True)
class WideLayer:
    """A layer with more bits than others. cost_percent: its part in the network's multiply-accumulates."""

    site: str
    title: str
    weight_bits: int | None
    output_bits: int
    cost_percent: float


@dataclass(frozen=True)
class CalibrationReport(Displayable):
    """Techniques with what each gained, formats by layer, and what stays in float and why.

    wide: layers with more bits than those with the least, where precision is mixed.
    """

    model_name: str
    label: str
    applied: tuple[Applied, ...]
    formats: tuple[StoredFormat, ...]
    floating: tuple[tuple[str, str], ...]
    wide: tuple[WideLayer, ...] = ()

    @property
    def bits(self) -> dict[str, int]:
        """The wide layers as `bits=` takes them."""
        return {layer.site: layer.output_bits for layer in self.wide}

    def report(self) -> Report:
        blocks: list[Block] = [self._callout()]
        if self.applied:
            blocks += [_techniques(self.applied), *map(_gains, self.applied)]
        if self.wide:
            blocks.append(_wide(self.wide))
        blocks.append(_formats(self.formats))
        if self.floating:
            columns = (Column("site", "Operation"), Column("reason", "Why"))
            rows = tuple((Code(site), reason) for site, reason in self.floating)
            blocks.append(Section(f"In float ({len(rows)})", (Table(columns, rows, key="floating"),), collapsed=True))
        return Report(f"Calibration of {self.model_name}, {self.label}", tuple(blocks), "calibration", self._data())

    def _callout(self) -> Callout:
        if not self.applied:
            return Callout("note", "Ranges by minimum and maximum; weights as they are.")
        first, last = self.applied[0].before.output_db, max(a.after.output_db for a in self.applied if a.kept)
        kept = ", ".join(a.name for a in self.applied if a.kept) or "nothing"
        text = f"Outputs went from {first:.1f} to {last:.1f} dB on calibration images. Kept: {kept}."
        return Callout("ok", text, "compare() on other images, and your labels, tell what that is worth.")

    def _data(self) -> dict[str, object]:
        return {
            "model": self.model_name,
            "plan": self.label,
            "applied": [
                {"name": a.name, "kept": a.kept, "before_db": a.before.output_db, "after_db": a.after.output_db}
                for a in self.applied
            ],
            "formats": {f.site: f.format for f in self.formats},
            "wide": self.bits,
            "floating": dict(self.floating),
        }


def calibration_report(model: QuantizedModel) -> CalibrationReport:
    """What calibration did to a model: `qm.report()`."""
    lane, plan, calibration = model.lane, model.plan, model.calibration
    formats = []
    for layer in plan.layers:
        qparams, seen = lane.qparams.get(layer.site), calibration.seen.get(layer.site)
        shift, facts = calibration.shifts.get(layer.site), lane.weight_facts.get(layer.site)
        if qparams is None or seen is None:
            continue
        shifts = (0, 0) if shift is None else (int(shift.min()), int(shift.max()))
        saturated = 0 if facts is None else facts.saturated
        headroom = _headroom(qparams, seen)
        formats.append(StoredFormat(str(layer.site), layer.title, str(qparams), seen, headroom, shifts, saturated))
    floating = tuple((str(site), reason) for site, reason in plan.floating.items())
    name, wide = plan.trace.model_name, _wide_layers(plan)
    return CalibrationReport(name, plan.label, calibration.history, tuple(formats), floating, wide)


def _wide_layers(plan: QuantPlan) -> tuple[WideLayer, ...]:
    least = min((layer.output.bits for layer in plan.layers if layer.output is not None), default=0)
    return tuple(
        WideLayer(
            str(layer.site),
            layer.title,
            None if layer.weight is None else layer.weight.bits,
            layer.output.bits,
            share_percent(plan, [layer.site]),
        )
        for layer in plan.layers
        if layer.output is not None and layer.output.bits > least
    )


def _headroom(qparams: QParams, seen: Range) -> float:
    """Bits between the largest value seen and the format's end: unused where positive, clipped where negative."""
    top = 2.0 ** (int(qparams.exponent) + qparams.qtype.bits - qparams.qtype.signed)
    return math.log2(top / seen.magnitude) if seen.magnitude else math.inf


def _techniques(applied: tuple[Applied, ...]) -> Table:
    columns = (
        Column("technique", "Technique"),
        Column("title", "What it does"),
        Column("before_db", "Output before", "dB", ".1f", "right"),
        Column("after_db", "after", "dB", ".1f", "right"),
        Column("kept", "Kept"),
    )
    rows = tuple((a.name, a.title, a.before.output_db, a.after.output_db, "yes" if a.kept else "no") for a in applied)
    return Table(columns, rows, "Techniques", "SQNR of the outputs on the first calibration images.", "techniques")


def _wide(wide: tuple[WideLayer, ...]) -> Table:
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


def _gains(applied: Applied) -> Section:
    """The layers whose stored tensors a technique brought nearest to float, or furthest from it."""
    before, after = applied.before.layers, applied.after.layers
    gains = sorted((after[s] - before[s], str(s)) for s in after if math.isfinite(after[s] - before.get(s, math.inf)))
    worst, best = gains[: SHOWN_GAINS // 2], gains[::-1][:SHOWN_GAINS]
    chosen = dict.fromkeys(best + [entry for entry in worst if entry[0] < 0])
    columns = (Column("site", "Layer"), Column("gain_db", "SQNR gained", "dB", "+.1f", "right"))
    rows: tuple[tuple[Cell, ...], ...] = tuple((Code(site), gain) for gain, site in chosen)
    title = f"{applied.name}: what it gained by layer"
    return Section(title, (Table(columns, rows, key=f"gains_{applied.name}"),), collapsed=True)


def _formats(formats: tuple[StoredFormat, ...]) -> Table:
    columns = (
        Column("site", "Layer"),
        Column("kind", "Kind"),
        Column("format", "Stored as"),
        Column("seen_low", "Least", "", ".3g", "right", "On the calibration images."),
        Column("seen_high", "Greatest", "", ".3g", "right"),
        Column("headroom_bits", "Headroom", "bits", "+.1f", "right", "Unused where positive, clipped where negative."),
        Column("shift_least", "Channel shifts from", "", "", "right", "Powers of two that channels are multiplied by."),
        Column("shift_most", "to", "", "", "right"),
        Column("saturated_biases", "Biases saturated", "", "", "right"),
    )
    rows = tuple(
        (Code(f.site), f.title, f.format, f.seen.low, f.seen.high, f.headroom_bits, *f.shifts, f.saturated)
        for f in formats
    )
    return Table(columns, rows, "Formats", "", "formats")
