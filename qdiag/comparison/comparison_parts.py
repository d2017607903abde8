"""The parts of a comparison's report: figures at the output, error along the network, and every layer in a table."""

from collections.abc import Mapping, Sequence

from qdiag.comparison.layer_error import LayerComparison, LayerError
from qdiag.comparison.not_finite import NotFinite
from qdiag.comparison.output_error import OutputError
from qdiag.numerics.metrics.metric import METRICS, Metric
from qdiag.numerics.metrics.sqnr import Sqnr
from qdiag.report.cells import Cell, Code, Place
from qdiag.report.chart import Chart, Series
from qdiag.report.elements import Callout, Fact, Facts, Section, Text
from qdiag.report.table import Column, Table

SHOWN_DB = 100.0
"""Equal tensors have infinite SQNR; drawn at this height, above what 16 bits reach."""

WORST = 25


def not_finite_callouts(outputs: Sequence[NotFinite]) -> list[Callout]:
    """One for each output of the float model that holds NaN or infinity."""
    return [Callout("error", "The float model itself gives NaN or infinity.", f"{one}.") for one in outputs]


def output_facts(outputs: Mapping[str, OutputError], float_top1_percent: float | None, images: int) -> Facts:
    """Accuracy or agreement of each lane, side by side. outputs: the coarsest lane last."""
    facts = []
    if float_top1_percent is not None:
        facts.append(Fact("float top-1", float_top1_percent, "%", ".1f"))
    facts += [_output_fact(lane, output) for lane, output in outputs.items()]
    drop = list(outputs.values())[-1].drop_points
    if drop is not None:
        facts.append(Fact("drop", drop, "points", ".1f", "error" if drop > 2 else None))
    facts += [Fact(f"{lane} output SQNR", output.sqnr_db, "dB", ".1f") for lane, output in outputs.items()]
    facts.append(Fact("images", images))
    return Facts(tuple(facts))


def _output_fact(lane: str, output: OutputError) -> Fact:
    if output.score is not None:
        return Fact(f"{lane}, {output.figure}", output.score, "", ".4g")
    if output.top1_percent is not None:
        return Fact(f"{lane} top-1", output.top1_percent, "%", ".1f")
    if output.means_classes:
        return Fact(f"{lane} agrees with float", output.agreement_percent, "%", ".1f")
    if output.worst is not None:
        return Fact(f"{lane} worst output", output.worst_sqnr_db, "dB", ".1f")
    return Fact(f"{lane} relative error", output.relative_error, "", ".2g")


def error_chart(layers: Sequence[LayerComparison], lanes: Sequence[str]) -> Chart:
    """SQNR along the network: as it arises, and what each layer adds by itself in the coarsest lane."""
    coarsest = lanes[-1]
    series = [
        Series(lane, tuple(_drawn(layer.lanes[lane].accumulated) for layer in layers), "dB", ".1f", True)
        for lane in lanes
    ]
    added = tuple(_drawn(layer.lanes[coarsest].added) for layer in layers)
    series.append(Series(f"{coarsest}, added", added, "dB", ".1f", True, meaning=coarsest))
    return Chart(
        kind="line",
        title="Error along the network",
        series=tuple(series),
        names=tuple(str(layer.site) for layer in layers),
        x_title="layer, in the order of the forward",
        y_title="SQNR (dB), higher is better",
        caption="Each line falls as errors add up. Look for the steps down, and for the layers whose added error is "
        "low by itself: there the error enters. Six dB are one bit.",
        key="network",
    )


def _drawn(metrics: Mapping[str, float | None]) -> float | None:
    value = metrics[Sqnr.key]
    return None if value is None else min(value, SHOWN_DB)


def worst_chart(layers: Sequence[LayerComparison], lane: str) -> Chart:
    """The layers that add most noise of their own, split by what causes it."""
    worst = sorted(layers, key=lambda layer: -layer.lanes[lane].added_noise)[:WORST]
    errors = [layer.lanes[lane] for layer in worst]
    weights = tuple(error.added_percent * error.weight_share for error in errors)
    output = tuple(error.added_percent * (1 - error.weight_share) for error in errors)
    return Chart(
        kind="bar",
        title=f"Layers that add most error in {lane}",
        series=(
            Series("by weights", weights, "%", ".2f", meaning="weights"),
            Series("by output", output, "%", ".2f", meaning="output"),
        ),
        names=tuple(str(layer.site) for layer in worst),
        x_title="layer",
        y_title="error from exact inputs (% of the signal, mean over channels)",
        caption="What each layer adds when its inputs are exact: by its rounded weights, or by rounding its output.",
        key="worst",
    )


def layer_table(layers: Sequence[LayerComparison], lanes: Sequence[str]) -> Table:
    """One row for each stored tensor."""
    columns = (*_layer_columns(lanes), *_coarsest_columns(lanes[-1]))
    rows = tuple(_layer_row(layer, lanes) for layer in layers)
    return Table(columns, rows, "All layers", key="layers")


def _layer_columns(lanes: Sequence[str]) -> list[Column]:
    columns = [Column("site", "layer"), Column("kind", "kind"), Column("place", "called at")]
    for lane in lanes:
        key = lane.replace("-", "").replace(" ", "_")
        columns.append(Column(f"sqnr_db_{key}", f"SQNR {lane}", "dB", ".1f", "right", "as it arises in the network"))
    return columns


def _coarsest_columns(lane: str) -> list[Column]:
    return [
        Column("added_sqnr_db", f"added {lane}", "dB", ".1f", "right", "from exact inputs"),
        Column("weight_percent", "by weights", "%", ".0f", "right", "of the noise this layer adds"),
        *(Column(m.key, f"{m.title} {lane}", m.unit, m.format, "right", m.help) for m in _other_metrics()),
        Column("channel_spread", "channels apart", "x", ".3g", "right", "largest over smallest channel of the weight"),
        Column("format", f"format {lane}"),
    ]


def _layer_row(layer: LayerComparison, lanes: Sequence[str]) -> tuple[Cell, ...]:
    error = layer.lanes[lanes[-1]]
    return (
        *(Code(str(layer.site)), layer.title, place(layer)),
        *(layer.lanes[lane].accumulated[Sqnr.key] for lane in lanes),
        *(error.added[Sqnr.key], 100 * error.weight_share if layer.is_weighted else None),
        *(error.accumulated[metric.key] for metric in _other_metrics()),
        *(error.weight.channel_spread if error.weight else None, error.format),
    )


def _other_metrics() -> list[type[Metric]]:
    return [metric for metric in METRICS if metric.key != Sqnr.key]


def place(layer: LayerComparison) -> Place | None:
    """Where in the user's code the layer is called."""
    source = layer.source
    return None if source is None else Place(source.file, source.line, str(source))


def floating_section(floating: Sequence[tuple[str, str]]) -> Section:
    """What no lane quantizes, and why."""
    rows = tuple((Code(site), reason) for site, reason in floating)
    table = Table((Column("site", "operation"), Column("reason", "why")), rows, key="floating")
    text = Text("These operations were computed in float in every version, on values that may be quantized.")
    return Section(f"Not quantized: {len(rows)} operations", (text, table), collapsed=True)


def layer_data(layer: LayerComparison) -> dict[str, object]:
    """A layer's figures, for machines."""
    return {
        "site": str(layer.site),
        "kind": layer.title,
        "operations": [str(site) for site in layer.sites],
        "file": layer.source.file if layer.source else None,
        "line": layer.source.line if layer.source else None,
        "lanes": {name: _error_data(error) for name, error in layer.lanes.items()},
    }


def _error_data(error: LayerError) -> dict[str, object]:
    return {
        "format": error.format,
        "accumulated": dict(error.accumulated),
        "added": dict(error.added),
        "weight_share": error.weight_share,
        "inherited_share": error.inherited_share,
        "weight": None if error.weight is None else vars(error.weight),
    }
