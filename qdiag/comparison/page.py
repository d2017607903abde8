"""A comparison, shown."""

import math
from typing import TYPE_CHECKING, Any

from qdiag.comparison.layer_error import LayerComparison
from qdiag.comparison.outputs import OutputError
from qdiag.numerics.metrics.metric import METRICS
from qdiag.numerics.metrics.sqnr import Sqnr
from qdiag.report.cells import Cell, Code, Place
from qdiag.report.chart import Chart, Series
from qdiag.report.elements import Block, Fact, Facts, Report, Section, Text
from qdiag.report.table import Column, Table

if TYPE_CHECKING:
    from qdiag.comparison.comparison import Comparison

SHOWN_DB = 100.0
"""Equal tensors have infinite SQNR; drawn at this height, above what 16 bits reach."""

WORST = 25


def page(comparison: "Comparison") -> Report:
    """Figures at the output, error along the network, and every layer in a table."""
    blocks: tuple[Block, ...] = (output_facts(comparison), error_chart(comparison), worst_chart(comparison))
    blocks += (layer_table(comparison),)
    if comparison.floating:
        blocks += (floating_section(comparison),)
    title = f"{comparison.model_name}: float against {' and '.join(comparison.lanes)}, {comparison.images} images"
    return Report(title, blocks, "comparison", as_data(comparison))


def output_facts(comparison: "Comparison") -> Facts:
    """Accuracy or agreement of each lane, side by side."""
    facts = []
    if comparison.float_top1_percent is not None:
        facts.append(Fact("float top-1", comparison.float_top1_percent, "%", ".1f"))
    facts += [_output_fact(lane, comparison.outputs[lane]) for lane in comparison.lanes]
    coarsest = comparison.outputs[comparison.lanes[-1]]
    if coarsest.drop_points is not None:
        facts.append(Fact("drop", coarsest.drop_points, "points", ".1f", "error" if coarsest.drop_points > 2 else None))
    facts += [Fact(f"{lane} output SQNR", comparison.outputs[lane].sqnr_db, "dB", ".1f") for lane in comparison.lanes]
    facts.append(Fact("images", comparison.images))
    return Facts(tuple(facts))


def _output_fact(lane: str, output: OutputError) -> Fact:
    if output.top1_percent is not None:
        return Fact(f"{lane} top-1", output.top1_percent, "%", ".1f")
    if output.agreement_percent is not None:
        return Fact(f"{lane} agrees with float", output.agreement_percent, "%", ".1f")
    return Fact(f"{lane} relative error", output.relative_error, "", ".2g")


def error_chart(comparison: "Comparison") -> Chart:
    """SQNR along the network: as it arises, and what each layer adds by itself in the coarsest lane."""
    coarsest = comparison.lanes[-1]
    series = [
        Series(lane, tuple(_drawn(layer.lanes[lane].accumulated) for layer in comparison.layers), "dB", ".1f", True)
        for lane in comparison.lanes
    ]
    alone = tuple(_drawn(layer.lanes[coarsest].added) for layer in comparison.layers)
    series.append(Series(f"{coarsest}, layer alone", alone, "dB", ".1f", True))
    return Chart(
        kind="line",
        title="Error along the network",
        series=tuple(series),
        names=tuple(str(layer.site) for layer in comparison.layers),
        x_title="layer, in the order of the forward",
        y_title="SQNR (dB), higher is better",
        caption="Each line falls as errors add up. Look for the steps down, and for the layers that are low by "
        "themselves: there the error enters. Six dB are one bit.",
    )


def worst_chart(comparison: "Comparison") -> Chart:
    """The layers that add most noise of their own, split by what causes it."""
    lane = comparison.lanes[-1]
    layers = sorted(comparison.layers, key=lambda layer: -layer.lanes[lane].added_noise)[:WORST]
    errors = [layer.lanes[lane] for layer in layers]
    return Chart(
        kind="bar",
        title=f"Layers that add most error in {lane}",
        series=(
            Series("by weights", tuple(100 * math.sqrt(e.added_noise * e.weight_share) for e in errors), "%", ".2f"),
            Series(
                "by output", tuple(100 * math.sqrt(e.added_noise * (1 - e.weight_share)) for e in errors), "%", ".2f"
            ),
        ),
        names=tuple(str(layer.site) for layer in layers),
        x_title="layer",
        y_title="error from exact inputs (% of the signal, mean over channels)",
        caption="What each layer adds when its inputs are exact: by its rounded weights, or by rounding its output.",
    )


def layer_table(comparison: "Comparison") -> Table:
    """One row for each stored tensor."""
    coarsest = comparison.lanes[-1]
    columns = [Column("site", "layer"), Column("kind", "kind"), Column("place", "called at")]
    for lane in comparison.lanes:
        key = lane.replace("-", "").replace(" ", "_")
        columns.append(Column(f"sqnr_db_{key}", f"SQNR {lane}", "dB", ".1f", "right", "as it arises in the network"))
    columns.append(Column("added_sqnr_db", f"alone {coarsest}", "dB", ".1f", "right", "from exact inputs"))
    columns.append(Column("weight_percent", "by weights", "%", ".0f", "right", "of the noise this layer adds"))
    others = [metric for metric in METRICS if metric.key != Sqnr.key]
    columns += [Column(m.key, f"{m.title} {coarsest}", m.unit, m.format, "right", m.help) for m in others]
    columns += [
        Column("channel_spread", "channels apart", "x", ".3g", "right", "largest over smallest channel of the weight"),
        Column("format", f"format {coarsest}"),
    ]
    rows = []
    for layer in comparison.layers:
        error = layer.lanes[coarsest]
        row: list[Cell] = [Code(str(layer.site)), layer.title, place(layer)]
        row += [layer.lanes[lane].accumulated[Sqnr.key] for lane in comparison.lanes]
        row += [error.added[Sqnr.key], 100 * error.weight_share if layer.is_weighted else None]
        row += [error.accumulated[metric.key] for metric in others]
        row += [error.weight.channel_spread if error.weight else None, error.format]
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows), "All layers", key="layers")


def place(layer: LayerComparison) -> Place | None:
    """Where in the user's code the layer is called."""
    source = layer.source
    return None if source is None else Place(source.file, source.line, str(source))


def floating_section(comparison: "Comparison") -> Section:
    """What no lane quantizes, and why."""
    rows = tuple((Code(site), reason) for site, reason in comparison.floating)
    table = Table((Column("site", "operation"), Column("reason", "why")), rows, key="floating")
    text = Text("These operations were computed in float in every version, on values that may be quantized.")
    return Section(f"Not quantized: {len(rows)} operations", (text, table), collapsed=True)


def as_data(comparison: "Comparison") -> dict[str, Any]:
    """Every figure, for machines."""
    return {
        "model": comparison.model_name,
        "images": comparison.images,
        "float_top1_percent": comparison.float_top1_percent,
        "outputs": {lane: vars(comparison.outputs[lane]) for lane in comparison.lanes},
        "layers": [_layer_data(layer) for layer in comparison.layers],
        "floating": [{"site": site, "reason": reason} for site, reason in comparison.floating],
    }


def _layer_data(layer: LayerComparison) -> dict[str, Any]:
    return {
        "site": str(layer.site),
        "kind": layer.title,
        "operations": [str(site) for site in layer.sites],
        "file": layer.source.file if layer.source else None,
        "line": layer.source.line if layer.source else None,
        "lanes": {
            name: {
                "format": error.format,
                "accumulated": dict(error.accumulated),
                "added": dict(error.added),
                "weight_share": error.weight_share,
                "inherited_share": error.inherited_share,
                "weight": None if error.weight is None else vars(error.weight),
            }
            for name, error in layer.lanes.items()
        },
    }


def _drawn(metrics: Any) -> float | None:
    value = metrics[Sqnr.key]
    return None if value is None else min(value, SHOWN_DB)
