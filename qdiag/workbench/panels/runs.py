"""Calibration and training: start, stop, resume, and the curves meanwhile."""

import threading
import time

import ipywidgets as widgets

from qdiag.progress import Progress
from qdiag.report.chart import Chart, Series
from qdiag.report.to_matplotlib import png
from qdiag.training.recipe import Recipe
from qdiag.workbench.controls import button, heading, row, toggles
from qdiag.workbench.panels.panel import Desk, Panel

METHODS = ("simple", "advanced", "advanced-dw", "best")
GRANULARITIES = [("per-tensor", None), ("depthwise per-channel", "depthwise"), ("all per-channel", "all")]
SECONDS_A_PICTURE = 1.0
POINTS = 200


class RunsPanel(Panel):
    """Each run ends as one more version in the history."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.method = toggles(METHODS, "qd-method")
        self.method.value = "best"
        self.granularity = toggles(GRANULARITIES, "qd-granularity")
        self.calibrate_button = button("Calibrate", "qd-calibrate", desk.guarded(self.calibrate), "info")
        self.epochs = widgets.BoundedIntText(3, min=1, max=1000, layout={"width": "70px"}).add_class("qd-epochs")
        self.rate = widgets.FloatText(1e-4, layout={"width": "90px"})
        self.target = toggles([("learn float's outputs", 1.0), ("learn labels", 0.0)], "qd-target")
        self.thresholds = widgets.Checkbox(False, description="learn ranges too (TQT)", indent=False)
        self.thresholds.layout.width = "auto"
        self.train_button = button("Train (QAT)", "qd-train", desk.guarded(self.train), "info")
        self.resume_button = button("Resume", "qd-resume", desk.guarded(self.resume), "warning")
        self.picture = widgets.Image(format="png", layout={"display": "none", "max_width": "100%"})
        self.picture.add_class("qd-curve")
        self.curves: dict[str, list[float]] = {}
        self._drawn = 0.0
        self._drawing = threading.Lock()
        self.widget = widgets.VBox(
            [
                heading("Calibrate, without labels · train in fixed point, from the applied version"),
                row(self.method, self.granularity, self.calibrate_button),
                row(
                    widgets.Label("epochs"),
                    self.epochs,
                    widgets.Label("learning rate"),
                    self.rate,
                    self.target,
                    self.thresholds,
                    self.train_button,
                    self.resume_button,
                ),
                self.picture,
            ]
        )
        self.show()

    def calibrate(self) -> None:
        method, granularity = self.method.value, self.granularity.value
        steps = lambda: self.desk.session.calibration_steps(method, per_channel=granularity)  # noqa: E731
        self.desk.start(steps, f"Calibrating ({method})")

    def train(self) -> None:
        recipe = Recipe(epochs=self.epochs.value, learning_rate=self.rate.value, distillation=self.target.value)
        thresholds = self.thresholds.value
        self._forget()
        self.desk.start(
            lambda: self.desk.session.training_steps(recipe, learn_thresholds=thresholds),
            "Training",
        )

    def resume(self) -> None:
        self._forget()
        self.desk.start(self.desk.session.resume_steps, "Resuming")

    def show(self) -> None:
        waiting = self.desk.session.unfinished
        self.resume_button.layout.display = "" if waiting else "none"
        if waiting:
            self.resume_button.description = f"Resume {waiting[0]}"
        self.train_button.disabled = self.desk.session.current is None

    def set_busy(self, busy: bool) -> None:
        self.calibrate_button.disabled = self.resume_button.disabled = busy
        self.train_button.disabled = busy or self.desk.session.current is None
        if not busy:
            self._draw()

    def hear(self, progress: Progress) -> None:
        """Add to the curves, and draw them now and then."""
        for name, value in progress.values.items():
            self.curves.setdefault(name, []).append(value)
        if progress.values and time.monotonic() - self._drawn > SECONDS_A_PICTURE:
            self._draw()

    def _forget(self) -> None:
        self.curves = {}

    def _draw(self) -> None:
        charts = [_chart(name, values) for name, values in self.curves.items() if len(values) > 1]
        if charts:
            with self._drawing:
                self.picture.value = png(charts[0])
                self.picture.layout.display = ""
                self._drawn = time.monotonic()


def _chart(name: str, values: list[float]) -> Chart:
    every = -(-len(values) // POINTS)
    kept = range(0, len(values), every)
    title = {"loss": "Loss", "right_percent": "Right while training (%)"}.get(name, name)
    series = Series(name, tuple(values[step] for step in kept), format=".4g")
    return Chart("line", title, (series,), tuple(str(step + 1) for step in kept), x_title="step")
