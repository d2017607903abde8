"""What calibration did, shown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from qdiag.numerics.qparams import QParams, activation_qparams
from qdiag.numerics.ranges.range import Range
from qdiag.planning.cost import share_percent
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Applied
from qdiag.quantization.lane import WeightFacts
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.report.cells import Cell, Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Block, Callout, Report, Section
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site

SHOWN_GAINS = 10
FEW_IMAGES = 16


@dataclass(frozen=True)
class StoredFormat:
    """A stored tensor's format. seen: its extremes on the calibration images, at the scale that it is stored at.

    reason: why the format is what it is. headroom_bits: unused above the largest value. clipped_percent: of the float
    values, beyond the ends; None where no technique measured it. shifts: least and greatest power of two that its
    channels are multiplied by.
    """

    site: str
    title: str
    format: str
    reason: str
    seen: Range
    headroom_bits: float
    clipped_percent: float | None
    shifts: tuple[int, int]


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

    wide: layers with more bits than those with the least, where precision is mixed. notes: what is odd about the data
    or the weights, and makes formats a guess.
    """

    model_name: str
    label: str
    applied: tuple[Applied, ...]
    formats: tuple[StoredFormat, ...]
    floating: tuple[tuple[str, str], ...]
    wide: tuple[WideLayer, ...]
    notes: tuple[tuple[str, str], ...]

    @property
    def bits(self) -> dict[str, int]:
        """The wide layers as `bits=` takes them."""
        return {layer.site: layer.output_bits for layer in self.wide}

    def report(self) -> Report:
        blocks: list[Block] = [self._callout()]
        blocks += [Callout("warning", headline, text) for headline, text in self.notes]
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
        first, last = self.applied[0].before.output_db, self.applied[-1].reached.output_db
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
            "clipped_percent": {f.site: f.clipped_percent for f in self.formats if f.clipped_percent is not None},
            "wide": self.bits,
            "notes": [f"{headline}. {text}" for headline, text in self.notes],
            "floating": dict(self.floating),
        }


def calibration_report(model: QuantizedModel) -> CalibrationReport:
    """What calibration did to a model: `qm.report()`."""
    lane, plan, calibration = model.lane, model.plan, model.calibration
    clipped = calibration.history[-1].reached.clipped_percent if calibration.history else {}
    formats = []
    for layer in plan.layers:
        qparams, seen = lane.qparams.get(layer.site), calibration.seen.get(layer.site)
        if qparams is None or seen is None or layer.output is None:
            continue
        shift = calibration.shifts.get(layer.site)
        formats.append(
            StoredFormat(
                site=str(layer.site),
                title=layer.title,
                format=str(qparams),
                reason=_reason(layer, qparams, activation_qparams(layer.output, seen), seen),
                seen=seen,
                headroom_bits=qparams.headroom_bits(seen),
                clipped_percent=clipped.get(layer.site),
                shifts=(0, 0) if shift is None else (int(shift.min()), int(shift.max())),
            )
        )
    floating = tuple((str(site), reason) for site, reason in plan.floating.items())
    name, wide, notes = plan.trace.model_name, _wide_layers(plan), tuple(_notes(model))
    return CalibrationReport(name, plan.label, calibration.history, tuple(formats), floating, wide, notes)


def _reason(layer: Layer, qparams: QParams, covering: QParams, seen: Range) -> str:
    """Why a format is what it is. covering: the one that clips nothing of what was seen."""
    if seen.low == seen.high:
        return "a guess"
    finer = int(covering.exponent) - int(qparams.exponent)
    if finer:
        return f"{abs(finer)} bit {'finer' if finer > 0 else 'coarser'}: less error"
    bound = layer.bounds[1] if layer.bounds else math.inf
    return f"bound of {bound:g}" if seen.high == bound else "min, max"


def _notes(model: QuantizedModel) -> Iterator[tuple[str, str]]:
    """Headlines, and what each means."""
    calibration, facts = model.calibration, {layer.site: model.lane.facts(layer) for layer in model.plan.layers}
    if 0 < calibration.images < FEW_IMAGES:
        images = f"{calibration.images} image{'s' if calibration.images > 1 else ''}"
        yield f"Calibrated on {images}", "Others may hold larger values, which are then clipped. 128 are plenty."
    constant = [str(site) for site, seen in calibration.seen.items() if seen.low == seen.high]
    if constant:
        text = f"{_some(constant)}: dead channels, or images that are all alike. Their formats are guesses."
        yield f"{_number(constant, 'tensor')} never change" + ("s" if len(constant) == 1 else ""), text
    lost = [f"{site} ({count} of {size})" for site, count, size in _lost_channels(facts)]
    if lost:
        text = (
            f"Channels of {_some(lost)}: others are so much larger that one scale does not hold both. "
            '`per_channel="depthwise"` or `"all"` mends that, and so may the technique `equalization`.'
        )
        yield "Weights of whole channels round to 0", text
    saturated = [str(site) for site, one in facts.items() if one is not None and one.saturated]
    if saturated:
        text = f"In {_some(saturated)}: the accumulator's step is too fine for them. More bits there would hold them."
        yield f"Biases saturate in {_number(saturated, 'layer')}", text


def _lost_channels(facts: Mapping[Site, WeightFacts | None]) -> Iterator[tuple[Site, int, int]]:
    """Layers with channels that are not zero, and round to it: how many, of how many."""
    for site, one in facts.items():
        if one is not None and one.qparams is not None:
            half = 0.5 * torch.as_tensor(one.qparams.scale(one.channel_max))
            lost = int(((one.channel_max > 0) & (one.channel_max < half)).sum())
            if lost:
                yield site, lost, len(one.channel_max)


def _number(things: Sequence[str], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) > 1 else ''}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:3]) + (" …" if len(names) > 3 else "")


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
