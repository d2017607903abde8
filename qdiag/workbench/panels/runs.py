"""Calibration and training: start, stop, resume, and the curves meanwhile."""

import time

import ipywidgets as widgets

from qdiag.planning.formats import PerChannelOption
from qdiag.progress import Progress
from qdiag.report.chart import Chart, Series
from qdiag.report.to_matplotlib import png
from qdiag.training.recipe import Recipe
from qdiag.workbench.controls import button, complaint, heading, row, toggles
from qdiag.workbench.panels.panel import Desk, Panel

METHODS = {
    "simple": "minimum and maximum",
    "advanced": "clipped ranges and corrected biases",
    "advanced-dw": "advanced, and depthwise weights per-channel",
    "best": "equalized channels, clipped ranges, weights solved and rounded so that errors cancel: takes minutes",
}
GRANULARITIES: dict[str, PerChannelOption] = {
    "per-tensor": None,
    "depthwise per-channel": "depthwise",
    "all per-channel": "all",
}
TARGETS = {"float's outputs": 1.0, "labels": 0.0}
SECONDS_A_PICTURE = 1.0
POINTS = 200
CURVES = {"loss": "Loss", "right_percent": "Right while training, %"}


class RunsPanel(Panel):
    """Each run ends as one more version in the history."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.trouble = complaint("qd-runs-trouble")
        self.method = toggles(METHODS, "qd-method", list(METHODS.values()))
        self.method.value = "best"
        self.granularity = toggles(GRANULARITIES, "qd-granularity")
        self.calibrate_button = button("Calibrate", "qd-calibrate", desk.guarded(self.calibrate, self.trouble), "info")
        self.epochs = widgets.BoundedIntText(3, min=1, max=1000, layout={"width": "70px"}).add_class("qd-epochs")
        self.rate = widgets.FloatText(1e-4, layout={"width": "90px"})
        self.target = toggles(TARGETS, "qd-target")
        self.thresholds = widgets.Checkbox(False, description="learn ranges too (TQT)", indent=False)
        self.thresholds.layout.width = "auto"
        self.train_button = button("Train (QAT)", "qd-train", desk.guarded(self.train, self.trouble), "info")
        self.resume_button = button("Resume", "qd-resume", desk.guarded(self.resume, self.trouble), "warning")
        self.pictures = {name: _picture() for name in CURVES}
        self.curves: dict[str, list[float]] = {}
        self._drawn = 0.0
        self.widget = widgets.VBox(
            [
                heading("Calibrate, without labels · train in fixed point, from the applied version"),
                self._calibration_row(),
                self._training_row(),
                self.trouble,
                row(*self.pictures.values()),
            ]
        )

    def _calibration_row(self) -> widgets.Box:
        method, weights = widgets.Label("method"), widgets.Label("weights")
        return row(method, self.method, weights, self.granularity, self.calibrate_button)

    def _training_row(self) -> widgets.Box:
        epochs, rate, learn = (widgets.Label(text) for text in ("epochs", "learning rate", "learn"))
        how = epochs, self.epochs, rate, self.rate, learn, self.target, self.thresholds
        return row(*how, self.train_button, self.resume_button)

    def calibrate(self) -> None:
        method, granularity = self.method.value, GRANULARITIES[self.granularity.value]
        steps = lambda: self.desk.session.calibrate.steps(method, per_channel=granularity)  # noqa: E731
        self.desk.start(steps, f"Calibrating ({method})")

    def train(self) -> None:
        recipe = Recipe(
            epochs=self.epochs.value, learning_rate=self.rate.value, distillation=TARGETS[self.target.value]
        )
        thresholds = self.thresholds.value
        self.curves = {}
        self.desk.start(
            lambda: self.desk.session.train.steps(recipe, learn_thresholds=thresholds),
            "Training",
        )

    def resume(self) -> None:
        self.curves = {}
        self.desk.start(self.desk.session.resume.steps, "Resuming")

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
        for name in CURVES.keys() & progress.values.keys():
            self.curves.setdefault(name, []).append(progress.values[name])
        if progress.values and time.monotonic() - self._drawn > SECONDS_A_PICTURE:
            self._draw()

    def _draw(self) -> None:
        for name, picture in self.pictures.items():
            values = self.curves.get(name, [])
            picture.layout.display = "" if len(values) > 1 else "none"
            if len(values) > 1:
                picture.value = png(_chart(name, values))
                self._drawn = time.monotonic()


def _picture() -> widgets.Image:
    made = widgets.Image(format="png", layout={"display": "none", "width": "580px", "max_width": "100%"})
    return made.add_class("qd-curve")


def _chart(name: str, values: list[float]) -> Chart:
    every = -(-len(values) // POINTS)
    kept = range(0, len(values), every)
    series = Series(name, tuple(values[step] for step in kept), format=".4g")
    return Chart("line", CURVES[name], (series,), tuple(str(step + 1) for step in kept), x_title="step")
