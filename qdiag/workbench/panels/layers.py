"""All layers, and beside them the selected one: lines, table, graph and close look share the selection."""

import ipywidgets as widgets

from qdiag.comparison.comparison_parts import error_chart
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.report.elements import charts_in
from qdiag.workbench.controls import button, escaped, row, toggles
from qdiag.workbench.figures import feature_maps
from qdiag.workbench.layer_graph import LayerGraph
from qdiag.workbench.layer_table import LayerTable
from qdiag.workbench.panels.panel import Desk, Panel
from qdiag.workbench.picture import Part, Picture

ALL, ONE = "All layers", "Selected layer"
TABLE, GRAPH = "Lines and table", "Graph"


class LayersPanel(Panel):
    """`choice` is the selection: whatever sets its value, every part marks that layer.

    beneath: what stands under the selected layer's name, to change it.
    """

    def __init__(self, desk: Desk, beneath: widgets.Widget):
        super().__init__(desk)
        self.names: list[str] = []
        self.shown: Diagnosis | None = None
        self.choice = widgets.Combobox(placeholder="layer", ensure_option=True, layout={"width": "220px"})
        self.choice.add_class("qd-layer")
        self.choice.observe(desk.guarded(self._chosen), "value")
        self.overview = Picture("qd-overview", {"network": Part(236, names=False)}, self.choice)
        self.table, self.graph = LayerTable(self.choice), LayerGraph(self.choice)
        close = {"output": Part(270), "weights": Part(230), "channels": Part(220, names=False)}
        self.close = Picture("qd-close", close)
        self.about = widgets.HTML().add_class("qd-about")
        self.causes = widgets.HTML().add_class("qd-causes")
        self.maps = widgets.Image(format="png", layout={"display": "none", "max_width": "100%"}).add_class("qd-maps")
        self.form = toggles([TABLE, GRAPH], "qd-form")
        master = widgets.VBox([self.form, self.overview, self.table, self.graph]).add_class("qd-master")
        detail = widgets.VBox([self.about, beneath, self.causes, self.close, self.maps]).add_class("qd-detail")
        # In a narrow window one of the two is shown; the selected layer's name stands over both.
        self.side = toggles([ALL, ONE], "qd-side")
        self.widget = widgets.Box([self._walk(), master, detail]).add_class("qd-layers")

    def _walk(self) -> widgets.Box:
        back = button("Previous", "qd-previous", self.desk.guarded(lambda: self.step(-1)))
        forth = button("Next", "qd-next", self.desk.guarded(lambda: self.step(1)))
        return row(self.side, back, forth, self.choice).add_class("qd-walk")

    def step(self, by: int) -> None:
        """Select the layer before or after, in the order of the forward."""
        if self.names:
            now = self.names.index(self.choice.value) if self.choice.value in self.names else -by
            self.choice.value = self.names[(now + by) % len(self.names)]

    def show(self) -> None:
        diagnosis = self.desk.session.diagnosis
        if diagnosis is not None and diagnosis is not self.shown:
            self._draw(diagnosis)
        # versions of an earlier session have figures, and no diagnosis yet
        self.widget.layout.display = "none" if diagnosis is None else "grid"

    def _draw(self, diagnosis: Diagnosis) -> None:
        chosen, comparison, self.shown = self.choice.value, diagnosis.comparison, diagnosis
        layers = self.desk.session.layers()
        self.names = [str(layer.site) for layer in comparison.layers]
        self.choice.options = self.names
        self.overview.show([error_chart(comparison.layers, comparison.lanes)])
        self.table.show(layers)
        self.graph.show(self.desk.session.graph())
        self.choice.value = ""
        self.choice.value = chosen if chosen in self.names else layers.names[0]

    def _chosen(self) -> None:
        name, diagnosis = self.choice.value, self.shown
        if name not in self.names or diagnosis is None:
            return
        with self.desk.lock:
            self.about.value = about_html(diagnosis, name)
            self.causes.value = causes_html(diagnosis, name)
            detail = self.desk.session.inspect(name)
            self.close.show(charts_in(detail.report()))
            self.maps.value = feature_maps(detail.maps, diagnosis.comparison.lanes[-1])
            self.maps.layout.display = "" if detail.maps else "none"


def about_html(diagnosis: Diagnosis, name: str) -> str:
    """One layer in two lines: what it is, how bad, and its part of the damage."""
    layer = diagnosis.comparison.layer(name)
    lane = diagnosis.comparison.lanes[-1]
    error = layer.lanes[lane]
    culprit = next((c for c in diagnosis.culprits if str(c.layer.site) == name), None)
    accumulated, added = error.accumulated["sqnr_db"], error.added["sqnr_db"]
    figures = []
    if culprit is not None:
        figures.append(f"<b>{culprit.share:.0%} of the damage</b>")
    if accumulated is not None and added is not None:
        figures.append(f"{escaped(lane)}: {accumulated:.1f} dB as it arises, {added:.1f} dB from exact inputs")
    head = f"<b>{escaped(name)}</b> · {layer.title} · {error.format}"
    return f'<div style="line-height:1.45">{head}<br>{" · ".join(figures)}</div>'


def causes_html(diagnosis: Diagnosis, name: str) -> str:
    """Why: the strongest cause with its fix; further causes, lint's findings and the line of code, folded."""
    layer = diagnosis.comparison.layer(name)
    evidence = next((c.evidence for c in diagnosis.culprits if str(c.layer.site) == name), ())
    causes = [f"{escaped(e.title)}: {escaped(e.text)}. <i>{escaped(e.fix)}</i>" for e in evidence]
    more = causes[1:]
    if diagnosis.lint is not None:
        findings = dict.fromkeys(f for site in layer.sites for f in diagnosis.lint.by_site(site))
        more += [f"lint {f.code} {f.name}: {escaped(f.why)}" for f in findings]
    if layer.source is not None:
        more.append(f"called at {escaped(layer.source)}")
    folded = f"<details><summary>{len(more)} more about it</summary>{'<br>'.join(more)}</details>" if more else ""
    return f'<div style="line-height:1.45">{"".join(causes[:1])}{folded}</div>'
