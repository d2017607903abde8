"""The network as layers and the tensors that go between them, each layer with what a graph can be coloured by."""

from collections.abc import Sequence
from dataclasses import dataclass

from qdiag.errors import OptionError
from qdiag.planning.plan import QuantPlan
from qdiag.report.cells import Cell, Code
from qdiag.report.displayable import Displayable
from qdiag.report.elements import Report
from qdiag.report.table import Column, Table
from qdiag.tracing.site import Site
from qdiag.workbench.layer_list import LayerList


@dataclass(frozen=True)
class Measure:
    """A figure of every layer that colours the graph.

    Attributes:
        key: Of the table of layers; the sum where it is several.
        title: As the reader chooses it.
        unit: As shown.
        help: What it says, in a sentence.
        adds_up: Whether a module's figure is the sum of its layers'; else it is the worst of them.
        digits: Behind the point.
    """

    key: tuple[str, ...]
    title: str
    unit: str
    help: str
    adds_up: bool = False
    digits: int = 1


MEASURES = (
    Measure(("damage_percent",), "share of the damage", "%", "of what the network's output loses", adds_up=True),
    Measure(("error_percent",), "error, accumulated", "%", "of the layer's signal, as it arises in the network"),
    Measure(
        ("weights_error_percent", "output_error_percent"),
        "error, added",
        "%",
        "of the layer's signal, from exact inputs: by its weights and by storing its output",
    ),
    Measure(("wasted_bits",), "bits wasted", "bit", "of the format that the float tensor never uses"),
    Measure(("macs_percent",), "MACs", "%", "of all multiply-accumulates of the network", adds_up=True),
)


@dataclass(frozen=True, repr=False)
class NetworkGraph(Displayable):
    """Every layer of one version in the order of the forward, and which layers read it.

    Attributes:
        layers: As `Session.layers()` gives them.
        sites: Addresses in the order of the forward.
        edges: Pairs of places in `sites`: the second layer reads what the first one stored.
    """

    layers: LayerList
    sites: tuple[Site, ...]
    edges: tuple[tuple[int, int], ...]

    def report(self) -> Report:
        """One row for each layer: the modules that it is in, the layers that it reads, and every measure."""
        rows = [self._row(place, site) for place, site in enumerate(self.sites)]
        columns = (
            Column("site", "layer"),
            Column("module", "in module"),
            Column("reads", "reads"),
            *(Column(_key(one), one.title, one.unit, f".{one.digits}f", "right", one.help) for one in MEASURES),
        )
        title = f"{self.layers.model_name} as a graph: {len(self.sites)} layers in {self.layers.lane}"
        return Report(title, (Table(columns, tuple(rows), key="graph"),), "graph")

    def _row(self, place: int, site: Site) -> tuple[Cell, ...]:
        read = ", ".join(str(self.sites[source]) for source, reader in self.edges if reader == place)
        return Code(str(site)), "".join(modules_of(site)[-1:]), read, *self.values[str(site)]

    @property
    def values(self) -> dict[str, tuple[float | None, ...]]:
        """Of each layer, by its address: one figure for each of `MEASURES`; None where it was not measured."""
        table = self.layers.table
        keys = [column.key for column in table.columns]
        places = [[keys.index(key) for key in measure.key] for measure in MEASURES]
        return dict(
            zip(
                self.layers.names,
                (tuple(_sum([row[place] for place in one]) for one in places) for row in table.rows),
                strict=True,
            )
        )

    @property
    def kinds(self) -> dict[str, str]:
        """Of each layer, by its address: what it is, in a word."""
        place = [column.key for column in self.layers.table.columns].index("kind")
        return dict(zip(self.layers.names, (str(row[place]) for row in self.layers.table.rows), strict=True))


def network_graph(layers: LayerList, plan: QuantPlan) -> NetworkGraph:
    """The layers of a diagnosed version with the tensors between them. plan: the version's own."""
    known = set(layers.names)
    sites = tuple(layer.site for layer in plan.layers if str(layer.site) in known)
    if len(sites) != len(known):
        raise OptionError("these layers are not the plan's: give the layers of the same version.", code="other-model")
    places = {site: place for place, site in enumerate(sites)}
    edges = tuple(
        (places[source], places[layer.site]) for layer in plan.layers for source in dict.fromkeys(layer.sources)
    )
    return NetworkGraph(layers, sites, edges)


def modules_of(site: Site) -> list[str]:
    """The modules that an operation is in, the outermost first; one named after its operation is the operation.

    >>> modules_of(Site("layer1.0.conv1", "conv2d", named_by_module=True)), modules_of(Site("layer1.0", "add"))
    (['layer1', 'layer1.0'], ['layer1', 'layer1.0'])
    """
    parts = [part for part in site.path.split(".") if part]
    last = len(parts) - 1 if site.named_by_module else len(parts)
    return [".".join(parts[:end]) for end in range(1, last + 1)]


def _key(measure: Measure) -> str:
    return measure.key[0] if len(measure.key) == 1 else "added_error_percent"


def _sum(cells: Sequence[Cell]) -> float | None:
    numbers = [cell for cell in cells if isinstance(cell, int | float)]
    return sum(numbers) if len(numbers) == len(cells) else None
