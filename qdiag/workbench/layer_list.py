"""Every layer with its errors and its cost: the table of the page, from Python."""

from collections.abc import Sequence
from dataclasses import dataclass

from qdiag.comparison.comparison_parts import layer_table
from qdiag.comparison.layer_error import LayerComparison, LayerError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.trials import damage_shares
from qdiag.planning.cost import LayerCost, layer_cost
from qdiag.planning.plan import QuantPlan
from qdiag.report.cells import Cell, Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site

PARTS = {
    "weights": "error that its rounded weights add, of the layer's signal",
    "output": "error that storing its output adds, of the layer's signal",
    "inherited": "error that comes in with its inputs, of the layer's signal",
}
"""What the error of a layer is made of."""


@dataclass(frozen=True, repr=False)
class LayerList(Displayable):
    """Every layer of one version, the worst first.

    Attributes:
        model_name: The model's class.
        lane: The version that the errors are of.
        table: One row for each layer: its part of the damage, its errors, its formats, its cost.
        culprits: Addresses of the layers to blame.
    """

    model_name: str
    lane: str
    table: Table
    culprits: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The layers' addresses, in the order of the table."""
        place = [column.key for column in self.table.columns].index("site")
        return [cell.text for row in self.table.rows if isinstance(cell := row[place], Code)]

    def report(self) -> Report:
        """The table."""
        return Report(f"Layers of {self.model_name} in {self.lane}", (self.table,), "layers")


def layer_list(diagnosis: Diagnosis, plan: QuantPlan) -> LayerList:
    """All layers of a diagnosed version. plan: its own, which says what each layer costs."""
    comparison, lane = diagnosis.comparison, diagnosis.comparison.lanes[-1]
    shares = _shares(diagnosis)
    costs = {layer.site: layer_cost(plan, layer) for layer in plan.layers}
    known = layer_table(comparison.layers, comparison.lanes)
    total = max(1, sum(cost.macs for cost in costs.values()))
    rows = []
    for number, (layer, cells) in enumerate(zip(comparison.layers, known.rows, strict=True), start=1):
        parts = error_parts(layer.lanes[lane])
        own = number, shares.get(layer.site), sum(parts), *parts
        rows.append((layer, (*cells, *own, *_cost_cells(costs.get(layer.site), total))))
    rows.sort(key=lambda row: _badness(row[0], shares.get(row[0].site), lane), reverse=True)
    table = _arranged((*known.columns, *_error_columns(), *_cost_columns()), [row for _, row in rows])
    culprits = tuple(str(culprit.layer.site) for culprit in diagnosis.culprits)
    return LayerList(comparison.model_name, lane, table, culprits)


def _arranged(columns: Sequence[Column], rows: Sequence[tuple[Cell, ...]]) -> Table:
    """With what is read first on the left: how bad, how near to float (the coarsest lane first), at what cost."""
    keys = [column.key for column in columns]
    nearness = [key for key in reversed(keys) if key.startswith("sqnr_db_")]
    errors, costs = ([column.key for column in made] for made in (_error_columns(), _cost_columns()))
    first = ["site", *errors, *nearness, "added_sqnr_db", *costs, "kind"]
    order = [*first, *(key for key in keys if key not in (*first, "place")), "place"]
    places = [keys.index(key) for key in order]
    arranged = tuple(tuple(row[place] for place in places) for row in rows)
    return Table(tuple(columns[place] for place in places), arranged, key="layers")


def error_parts(error: LayerError) -> tuple[float, float, float]:
    """What a layer's error is made of as it arises in the network: `PARTS`, in percent of its signal."""
    arisen = error.accumulated["relative_error"]
    inherited = 0.0 if arisen is None else max(0.0, 100 * min(arisen, 1.0) - error.added_percent)
    weights = error.added_percent * error.weight_share
    return weights, error.added_percent - weights, inherited


def _shares(diagnosis: Diagnosis) -> dict[Site, float]:
    """Each layer's part of the damage in percent, where it was tried by itself or is to blame."""
    parts = damage_shares(diagnosis.trials) | {one.layer.site: one.share for one in diagnosis.culprits}
    return {site: 100 * part for site, part in parts.items()}


def _badness(layer: LayerComparison, share: float | None, lane: str) -> tuple[float, float]:
    """Culprits by their part of the damage, then what adds most noise."""
    return share or 0.0, layer.lanes[lane].added_noise


def _error_columns() -> Sequence[Column]:
    return (
        Column("order", "#", "", "", "right", "place in the forward"),
        Column("damage_percent", "damage", "%", ".1f", "right", "its part of what the network's output loses"),
        Column("error_percent", "error", "%", ".2f", "right", "as it arises in the network, of the layer's signal"),
        *(Column(f"{part}_error_percent", f"by {part}", "%", ".2f", "right", text) for part, text in PARTS.items()),
    )


def _cost_columns() -> Sequence[Column]:
    return (
        Column("macs", "MACs", "", "", "right", "multiply-accumulates for one image"),
        Column("macs_percent", "of all MACs", "%", ".1f", "right", "its part in the network's multiply-accumulates"),
        Column("parameters", "parameters", "", "", "right", "weights and biases, BatchNorm merged in"),
        Column("shape", "shape", "", "", "left", "of the stored tensor, for one image"),
    )


def _cost_cells(cost: LayerCost | None, total: int) -> tuple[Cell, ...]:
    if cost is None:
        return None, None, None, ""
    return cost.macs, 100 * cost.macs / total, cost.parameters, " × ".join(map(str, cost.shape))
