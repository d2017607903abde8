"""All layers on the left, one of them on the right."""

from typing import TYPE_CHECKING

import ipywidgets as widgets
import plotly.graph_objects as go

from qdiag.workbench.controls import button, escaped, row
from qdiag.workbench.figures import drill_down, feature_maps, on_page, overview, redraw, worst_layers
from qdiag.workbench.panels.panel import Desk, Panel

if TYPE_CHECKING:
    from qdiag.explanation.diagnosis import Diagnosis

HINT = "<b>Worst layers</b>, culprits first: click a bar, or the strip of all layers under them"


class LayersPanel(Panel):
    """Bars of the worst, a strip of all, and a close look at the chosen one."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.names: list[str] = []
        self.shown: Diagnosis | None = None
        self.all: go.FigureWidget | None = None
        self.one: go.FigureWidget | None = None
        self.choice = widgets.Combobox(placeholder="layer", ensure_option=True, layout={"width": "300px"})
        self.choice.add_class("qd-layer")
        self.choice.observe(desk.guarded(self._chosen), "value")
        back = button("Previous", "qd-previous", desk.guarded(lambda: self.step(-1)))
        forth = button("Next", "qd-next", desk.guarded(lambda: self.step(1)))
        self.about = widgets.HTML().add_class("qd-about")
        self.hint = widgets.HTML(HINT)
        self.left = widgets.VBox(layout={"width": "600px", "max_width": "100%"})
        self.maps = widgets.Image(format="png", layout={"display": "none", "max_width": "100%"}).add_class("qd-maps")
        self.facts = widgets.Box([self.about], layout={"max_height": "420px", "overflow": "auto"})
        self.right = widgets.VBox(layout={"width": "600px", "max_width": "100%"})
        self.walk = row(back, forth, self.choice)
        self.widget = widgets.Box([self.left, self.right], layout={"display": "none", "flex_flow": "row wrap"})

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

    def _draw(self, diagnosis: "Diagnosis") -> None:
        chosen, self.shown = self.choice.value, diagnosis
        self.names = [str(layer.site) for layer in diagnosis.comparison.layers]
        self.choice.options = self.names
        worst = worst_layers(diagnosis)
        old = self.all, self.one
        self.all = on_page(overview(diagnosis, worst))
        bars, strip = self.all.data[:-1], self.all.data[-1]
        for trace in bars:
            trace.on_click(lambda _, points, __: self._clicked([worst[i] for i in points.point_inds]))
        strip.on_click(lambda _, points, __: self._clicked([self.names[i[1]] for i in points.point_inds]))
        self.one = None
        self.choice.value = ""
        self.choice.value = chosen if chosen in self.names else worst[0]
        self.left.children = [self.hint, self.all, self.facts]
        self.right.children = [self.walk, *([self.one] if self.one is not None else []), self.maps]
        for figure in filter(None, old):
            figure.close()

    def _clicked(self, names: list[str]) -> None:
        if names:
            self.choice.value = names[0]

    def _chosen(self) -> None:
        name, diagnosis = self.choice.value, self.shown
        if name not in self.names or diagnosis is None:
            return
        with self.desk.lock:
            detail = self.desk.session.inspect(name)
            figure = drill_down(detail)
            if self.one is None:
                self.one = on_page(figure)
            else:
                redraw(self.one, figure)
            self.about.value = about_html(diagnosis, name)
            self.maps.value = feature_maps(detail, diagnosis.comparison.lanes[-1])
            self.maps.layout.display = "" if detail.maps else "none"


def about_html(diagnosis: "Diagnosis", name: str) -> str:
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
