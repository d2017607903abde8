"""The graph of the network on the page: folded, coloured, searched and zoomed in the browser, one selection."""

import json
import math
from pathlib import Path

import anywidget
import ipywidgets as widgets
from traitlets import Instance

from qdiag.report.colours import COLOURS
from qdiag.workbench.live_chart import CARRIER
from qdiag.workbench.network_graph import MEASURES, NetworkGraph, modules_of

DIGITS = 4
COST = {"macs_percent"}
"""Measures that are no error, and so have a colour of their own."""


class LayerGraph(anywidget.AnyWidget):
    """Every layer as a box, modules as boxes that open, and the tensors between them as lines.

    What changes travels in widgets of ipywidgets' own, as `LiveChart` says why.

    Args:
        selection: Its value is the layer that the page is about; a click sets it.
    """

    _esm = "\n".join(
        Path(__file__).with_name(name).read_text("utf-8") for name in ("graph_layout.js", "layer_graph.js")
    )
    _css = Path(__file__).with_name("layer_graph.css")
    network = Instance(widgets.Label).tag(**CARRIER)
    """Its value is layers, lines and measures, as JSON."""
    selection = Instance(widgets.Combobox).tag(**CARRIER)

    def __init__(self, selection: widgets.Combobox):
        super().__init__(network=widgets.Label(""), selection=selection)

    def show(self, network: NetworkGraph) -> None:
        """Another network, or the same with other figures; what is folded, the colours and the zoom stay."""
        self.network.value = graph_json(network)


def graph_json(network: NetworkGraph) -> str:
    """What the page is told."""
    values, kinds, culprits = network.values, network.kinds, set(network.layers.culprits)
    layers = [
        {
            "name": str(site),
            "kind": kinds[str(site)],
            "modules": modules_of(site),
            "values": [_rounded(value) for value in values[str(site)]],
            "is_culprit": str(site) in culprits,
        }
        for site in network.sites
    ]
    measures = [
        {
            "key": "+".join(one.key),
            "title": one.title,
            "unit": one.unit,
            "help": one.help,
            "adds_up": one.adds_up,
            "digits": one.digits,
            "colour": COLOURS["inherited" if COST & set(one.key) else "8-bit"],
        }
        for one in MEASURES
    ]
    file = f"{network.layers.model_name}.svg"
    return json.dumps({"layers": layers, "edges": network.edges, "measures": measures, "file": file})


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")
