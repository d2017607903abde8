"""All layers on the left, one of them on the right."""

import ipywidgets as widgets

from qdiag.comparison.comparison_parts import error_chart
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.report.elements import charts_in
from qdiag.workbench.controls import button, escaped, row
from qdiag.workbench.figures import feature_maps, part_chart, worst_layers
from qdiag.workbench.panels.panel import Desk, Panel
from qdiag.workbench.picture import Part, Picture

HINT = "Culprits first. Click a bar, or a layer in the lines through all of them."


class LayersPanel(Panel):
    """Bars of the worst, lines through all, and a close look at the chosen one."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.names: list[str] = []
        self.shown: Diagnosis | None = None
        overview = {"parts": Part(540), "network": Part(290, names=False)}
        self.overview = Picture("qd-overview", overview, self.select)
        close = {"output": Part(300), "weights": Part(250), "channels": Part(250, names=False)}
        self.close = Picture("qd-close", close)
        self.choice = widgets.Combobox(placeholder="layer", ensure_option=True, layout={"width": "300px"})
        self.choice.add_class("qd-layer")
        self.choice.observe(desk.guarded(self._chosen), "value")
        back = button("Previous", "qd-previous", desk.guarded(lambda: self.step(-1)))
        forth = button("Next", "qd-next", desk.guarded(lambda: self.step(1)))
        self.about = widgets.HTML().add_class("qd-about")
        self.hint = widgets.HTML(HINT)
        self.maps = widgets.Image(format="png", layout={"display": "none", "max_width": "100%"}).add_class("qd-maps")
        self.facts = widgets.Box([self.about], layout={"max_height": "420px", "overflow": "auto"})
        left = _column(self.hint, self.overview, self.facts)
        right = _column(row(back, forth, self.choice), self.close, self.maps)
        self.widget = widgets.Box([left, right], layout={"display": "none", "flex_flow": "row wrap"})

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
        self.widget.layout.display = "none" if diagnosis is None else "flex"

    def select(self, name: str) -> None:
        """Look at a layer."""
        self.choice.value = name

    def _draw(self, diagnosis: Diagnosis) -> None:
        chosen, comparison, self.shown = self.choice.value, diagnosis.comparison, diagnosis
        self.names = [str(layer.site) for layer in comparison.layers]
        self.choice.options = self.names
        worst = worst_layers(diagnosis.culprits, comparison.layers, comparison.lanes[-1])
        lines = error_chart(comparison.layers, comparison.lanes)
        self.overview.show([part_chart(worst, comparison.lanes[-1]), lines])
        self.choice.value = ""
        self.choice.value = chosen if chosen in self.names else str(worst[0].site)

    def _chosen(self) -> None:
        name, diagnosis = self.choice.value, self.shown
        if name not in self.names or diagnosis is None:
            return
        with self.desk.lock:
            detail = self.desk.session.inspect(name)
            self.close.show(charts_in(detail.report()))
            self.about.value = about_html(diagnosis, name)
            self.maps.value = feature_maps(detail.maps, diagnosis.comparison.lanes[-1])
            self.maps.layout.display = "" if detail.maps else "none"


def _column(*children: widgets.Widget) -> widgets.VBox:
    return widgets.VBox(children, layout={"width": "600px", "max_width": "100%"})


def about_html(diagnosis: Diagnosis, name: str) -> str:
    """What is known of one layer: figures, causes, lint findings, the line of code."""
    layer = diagnosis.comparison.layer(name)
    lane = diagnosis.comparison.lanes[-1]
    error = layer.lanes[lane]
    culprit = next((c for c in diagnosis.culprits if str(c.layer.site) == name), None)
    accumulated, added = error.accumulated["sqnr_db"], error.added["sqnr_db"]
    lines = [f"<b>{escaped(name)}</b> · {layer.title} · {error.format}"]
    if layer.source is not None:
        lines.append(f"called at {escaped(layer.source)}")
    if accumulated is not None and added is not None:
        lines.append(f"{escaped(lane)}: {accumulated:.1f} dB as it arises, {added:.1f} dB from exact inputs")
    if culprit is not None:
        lines.append(f"<b>{culprit.share:.0%} of the damage</b>")
        lines += [f"{escaped(e.title)}: {escaped(e.text)}. <i>{escaped(e.fix)}</i>" for e in culprit.evidence]
    if diagnosis.lint is not None:
        findings = dict.fromkeys(f for site in layer.sites for f in diagnosis.lint.by_site(site))
        lines += [f"lint {f.code} {f.name}: {escaped(f.why)}" for f in findings]
    return f'<div style="line-height:1.45">{"<br>".join(lines)}</div>'
