"""The page: all layers on the left, one of them on the right, and the answer above."""

import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from qdiag.errors import QdiagError
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.progress import Progress
from qdiag.workbench.figures import drill_down, on_page, overview, redraw, worst_layers
from qdiag.workbench.job import Job
from qdiag.workbench.session import Session

HINT = "Click a bar or the strip, or type a layer's name; Previous and Next go through all layers."


class Workbench(widgets.VBox):
    """Shows a session's diagnosis, and any layer of it close up.

        Workbench(model, loader, optimizer)

    Takes what `Session` takes. The checks start with the button, and run beside the notebook: other cells work
    meanwhile. Stop ends them after the step they are in; interrupting the kernel does not.
    """

    def __init__(self, model: Any, data: Any, optimizer: Any = None, *, calibration_data: Any = None):
        self.session = Session(model, data, optimizer, calibration_data=calibration_data)
        self.job = Job(self._progress, self._finished, self._stopped, self._failed)
        self.names: list[str] = []
        self._lock = threading.RLock()
        self._make_controls(type(model).__name__)
        super().__init__([self.head, self.bar, self.verdict, self.body])
        self.add_class("qd-workbench")

    def _make_controls(self, title: str) -> None:
        self.run_button = _button("Run checks", "qd-run", self._guarded(self.run_checks), "primary")
        self.stop_button = _button("Stop", "qd-stop", self._guarded(self.job.stop))
        self.stop_button.disabled = True
        self.progress = widgets.IntProgress(layout={"width": "160px", "visibility": "hidden"})
        self.status = widgets.Label("Not run yet.").add_class("qd-status")
        name = widgets.HTML(f"<b>{html.escape(title)}</b> · power-of-2 · symmetric · per-tensor")
        self.head = name
        self.bar = _row([self.run_button, self.stop_button, self.progress, self.status])
        self.verdict = widgets.HTML().add_class("qd-verdict")
        self.layers: go.FigureWidget | None = None
        self.layer: go.FigureWidget | None = None
        self.choice = widgets.Combobox(placeholder="layer", ensure_option=True, layout={"width": "300px"})
        self.choice.add_class("qd-layer")
        self.choice.observe(self._guarded(self._chosen), "value")
        back = _button("Previous", "qd-previous", self._guarded(lambda: self.step(-1)))
        forth = _button("Next", "qd-next", self._guarded(lambda: self.step(1)))
        self.about = widgets.HTML(HINT).add_class("qd-about")
        self.left = widgets.VBox(layout={"width": "600px", "max_width": "100%"})
        self.right = widgets.VBox(layout={"width": "600px", "max_width": "100%"})
        self.walk = _row([back, forth, self.choice])
        self.body = widgets.Box([self.left, self.right], layout={"display": "none", "flex_flow": "row wrap"})

    # Commands ---------------------------------------------------------------------------------------------

    def run_checks(self) -> None:
        """Start the diagnosis beside the notebook; nothing happens while one is under way."""
        if not self.job.is_running:
            self.run_button.disabled, self.stop_button.disabled = True, False
            self.progress.layout.visibility = "visible"
            self.status.value = "Starting …"
            self.job.start(self.session.diagnosis_steps())  # last: a short run may be over when it returns

    def step(self, by: int) -> None:
        """Select the layer before or after, in the order of the forward."""
        if self.names:
            now = self.names.index(self.choice.value) if self.choice.value in self.names else -by
            self.choice.value = self.names[(now + by) % len(self.names)]

    def select(self, name: str) -> None:
        """Show one layer."""
        self.choice.value = name

    # What comes back --------------------------------------------------------------------------------------

    def _progress(self, progress: Progress) -> None:
        self.progress.max, self.progress.value = progress.total or progress.done, progress.done
        self.status.value = f"{progress.label}: {progress.done} of {progress.total or '?'} batches"

    def _finished(self, diagnosis: Diagnosis) -> None:
        try:
            self._show(diagnosis)
            self._idle(f"Done: {diagnosis.comparison.images} images.")
        except Exception as error:  # noqa: BLE001 - in a thread: shown on the page, or it would be lost
            self._failed(error)

    def _show(self, diagnosis: Diagnosis) -> None:
        with self._lock:
            self.verdict.value = verdict_html(diagnosis)
            self.names = [str(layer.site) for layer in diagnosis.comparison.layers]
            self.choice.options = self.names
            worst = worst_layers(diagnosis)
            old = self.layers, self.layer
            self.layers = on_page(overview(diagnosis, worst))
            bars, strip = self.layers.data[:-1], self.layers.data[-1]
            for trace in bars:
                trace.on_click(lambda _, points, __: self._clicked([worst[i] for i in points.point_inds]))
            strip.on_click(lambda _, points, __: self._clicked([self.names[i[1]] for i in points.point_inds]))
            self.layer = None
            self.choice.value = ""
            self.select(worst[0])
            self.left.children = [self.layers]
            self.right.children = [self.walk, *([self.layer] if self.layer is not None else []), self.about]
            self.body.layout.display = "flex"
            for figure in filter(None, old):
                figure.close()

    def _clicked(self, names: list[str]) -> None:
        if names:
            self.select(names[0])

    def _chosen(self) -> None:
        name = self.choice.value
        if name not in self.names:
            return
        with self._lock:
            figure = drill_down(self.session.inspect(name))
            if self.layer is None:
                self.layer = on_page(figure)
            else:
                redraw(self.layer, figure)
            assert self.session.diagnosis is not None, "layers are named only after a diagnosis"
            self.about.value = about_html(self.session.diagnosis, name)

    def _stopped(self) -> None:
        self._idle("Stopped. Results from before are kept.")

    def _failed(self, error: Exception) -> None:
        kind = type(error).__name__
        hint = "" if isinstance(error, QdiagError) else " This is a defect of qdiag, or of the model's own code."
        self.verdict.value = f'<div class="qd-error">✖ <b>{kind}</b>: {html.escape(str(error))}{hint}</div>'
        self._idle("Failed; the message is below.")

    def _idle(self, status: str) -> None:
        self.run_button.disabled, self.stop_button.disabled = False, True
        self.progress.layout.visibility = "hidden"
        self.status.value = status

    def _guarded(self, command: Callable[[], None]) -> Callable[..., None]:
        """A callback whose errors appear on the page: JupyterLab shows them nowhere else."""

        def call(*_: Any) -> None:
            try:
                command()
            except Exception as error:  # noqa: BLE001
                self._failed(error)

        return call


def verdict_html(diagnosis: Diagnosis) -> str:
    """The verdict, the figures, and the next steps."""
    symbol = {"healthy": "✔", "small-loss": "▲"}.get(diagnosis.verdict.kind, "✖")
    comparison = diagnosis.comparison
    figures = [] if comparison.float_top1_percent is None else [f"float <b>{comparison.float_top1_percent:.1f} %</b>"]
    for lane in comparison.lanes:
        output = comparison.outputs[lane]
        figure = output.top1_percent if output.top1_percent is not None else output.agreement_percent
        figures.append(f"{lane} <b>{output.sqnr_db:.1f} dB</b>" if figure is None else f"{lane} <b>{figure:.1f} %</b>")
    steps = "".join(
        f"<li><b>{html.escape(s.title)}</b> {html.escape(s.text)} <code>{html.escape(s.code)}</code></li>"
        for s in diagnosis.steps
    )
    return (
        f"<div><b>{symbol} {html.escape(diagnosis.verdict.headline)}</b> {html.escape(diagnosis.verdict.text)}<br>"
        f"{' &nbsp; '.join(figures)} &nbsp; on {comparison.images} images<ol>{steps}</ol></div>"
    )


def about_html(diagnosis: Diagnosis, name: str) -> str:
    """What is known of one layer: figures, causes, lint findings, the line of code."""
    layer = diagnosis.comparison.layer(name)
    lane = diagnosis.comparison.lanes[-1]
    error = layer.lanes[lane]
    culprit = next((c for c in diagnosis.culprits if str(c.layer.site) == name), None)
    accumulated, added = error.accumulated["sqnr_db"], error.added["sqnr_db"]
    lines = [f"<b>{html.escape(name)}</b> · {layer.title} · {error.format}"]
    if layer.source is not None:
        lines.append(f"called at {html.escape(str(layer.source))}")
    if accumulated is not None and added is not None:
        lines.append(f"{lane}: {accumulated:.1f} dB as it arises, {added:.1f} dB from exact inputs")
    if culprit is not None:
        lines.append(f"<b>{culprit.share:.0%} of the damage</b>")
        lines += [
            f"{html.escape(e.title)}: {html.escape(e.text)}. <i>{html.escape(e.fix)}</i>" for e in culprit.evidence
        ]
    if diagnosis.lint is not None:
        findings = dict.fromkeys(f for site in layer.sites for f in diagnosis.lint.by_site(site))
        lines += [f"lint {f.code} {f.name}: {html.escape(f.why)}" for f in findings]
    return "<br>".join(lines)


def _button(text: str, css: str, on_click: Callable[..., None], style: str = "") -> widgets.Button:
    button = widgets.Button(description=text, button_style=style, layout={"width": "auto"}).add_class(css)
    button.on_click(on_click)
    return button


def _row(children: list[widgets.Widget]) -> widgets.Box:
    return widgets.Box(children, layout={"flex_flow": "row wrap", "align_items": "center"})
