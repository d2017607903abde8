"""The page, one screen high: a head with the answer, and beneath it one view at a time."""

import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from qdiag.progress import Progress, Steps
from qdiag.workbench.controls import button, escaped, row
from qdiag.workbench.error_text import error_html
from qdiag.workbench.job import Job
from qdiag.workbench.layout import LAYERS, VIEWS, style, views
from qdiag.workbench.panels.answer import AnswerPanel
from qdiag.workbench.panels.earlier import EarlierPanel
from qdiag.workbench.panels.images import ImagesPanel
from qdiag.workbench.panels.layers import ONE, LayersPanel
from qdiag.workbench.panels.lint import LintPanel
from qdiag.workbench.panels.panel import Panel
from qdiag.workbench.panels.runs import RunsPanel
from qdiag.workbench.panels.versions import VersionsPanel
from qdiag.workbench.panels.what_if import WhatIfPanel
from qdiag.workbench.session import Session
from qdiag.workbench.snapshot import Snapshot


class Workbench(widgets.VBox):
    """One page over a session: is it bad, why, where, what to do; and doing it.

        Workbench(model, loader, optimizer)

    `session` is the same from Python. Long work starts with a button, and runs beside the notebook: other cells work
    meanwhile. Stop ends it, in the middle of a training step if need be; interrupting the kernel does not. Where
    commands were given from Python, `refresh()` shows what they left.

    Args:
        model: As for `Session`; or a Session.
        *data: As for `Session`: the data, an optimizer, `evaluate`.
        **options: As for `Session`.

    >>> from qdiag.demo.load import load_demo
    >>> demo = load_demo("wild")
    >>> bench = Workbench(demo.model, demo.loader, demo.optimizer, folder=None)
    >>> bench.session.diagnosis is None
    True
    """

    def __init__(self, model: Any, *data: Any, **options: Any):
        self.session = model if isinstance(model, Session) else Session(model, *data, **options)
        self.job = Job(self._progress, self._stopped, self._failed)
        self.lock = threading.RLock()  # which thread a callback runs in is not fixed
        self._begun = 0.0, ""
        self.snapshot = Snapshot()
        self._click = threading.local()  # the place of the control that this thread serves
        self._spot: widgets.HTML | None = None  # of what is under way
        self._make_head()
        self.earlier, self.what_if = EarlierPanel(self), WhatIfPanel(self)
        self.answer, self.layers = AnswerPanel(self), LayersPanel(self, self.what_if.widget)
        self.images, self.runs = ImagesPanel(self), RunsPanel(self)
        self.lint, self.versions = LintPanel(self), VersionsPanel(self)
        self.layers.choice.observe(lambda change: self.what_if.follow(change["new"]), "value")
        answer = self.error, self.earlier.widget, self.answer.widget, self.what_if.result
        work = self.images.widget, self.runs.widget, self.versions.widget, self.lint.widget
        self.views, body = views(dict(zip(VIEWS, (self.layers.widget, self.answer.reasons, *work), strict=True)))
        head = widgets.VBox([self.head, *answer]).add_class("qd-head")
        super().__init__([style(), head, self.views, body])
        self.add_class("qd-workbench")
        self.refresh()

    def _ipython_display_(self) -> None:
        """The page, and a snapshot of it for the notebook where there is no kernel."""
        page = {**self._repr_mimebundle_(), "text/plain": f"Workbench of {type(self.session.model).__name__}"}
        display(page, raw=True)
        self.snapshot.show(self.session.report())

    @property
    def panels(self) -> tuple[Panel, ...]:
        top = self.earlier, self.answer, self.what_if
        return *top, self.layers, self.images, self.runs, self.versions, self.lint

    def _make_head(self) -> None:
        name = widgets.HTML(
            f"<b>{escaped(type(self.session.model).__name__)}</b> · power-of-2 · symmetric · per-tensor · 8 bit"
        )
        self.run_button = button("Run checks", "qd-run", self.guarded(self.run_checks), "primary")
        self.stop_button = button("Stop", "qd-stop", self.guarded(self.stop))
        self.stop_button.disabled = True
        self.html_button = button(
            "Save HTML", "qd-html", self.guarded(self.save_html), tooltip="All of it, in one file"
        )
        self.progress = widgets.IntProgress(layout={"width": "160px", "display": "none"})
        self.status = widgets.Label("Not run yet.").add_class("qd-status")
        self.error = widgets.HTML(layout={"display": "none"}).add_class("qd-failure")
        self.head = row(name, self.run_button, self.stop_button, self.html_button, self.progress, self.status)

    # Commands ---------------------------------------------------------------------------------------------

    def run_checks(self) -> None:
        """Start the diagnosis beside the notebook; nothing happens while something is under way."""
        self.start(self.session.diagnose.steps, "Checking")

    def stop(self) -> None:
        """End what is under way, within half a second as long as it computes with torch."""
        self.say("Stopping …")
        self.job.stop()

    def select(self, name: str) -> None:
        """Show one layer: it is marked in the table and in the lines, and close up beside them.

        Args:
            name: Its address.
        """
        self.views.value, self.layers.side.value = LAYERS, ONE
        self.layers.choice.value = name

    def save_html(self) -> None:
        """Write the session's report beside the notebook."""
        path = f"{type(self.session.model).__name__}.html"
        self.say(f"Written: {self.session.to_html(path)}")

    def refresh(self) -> None:
        """Show what the session holds now."""
        with self.lock:
            for panel in self.panels:
                panel.show()
        # what to do next is one thing: the checks, and then what they advise
        self.run_button.button_style = "" if self.session.offers() else "primary"
        self.snapshot.update(self.session.report())

    # What panels ask for ----------------------------------------------------------------------------------

    def start(self, command: Callable[[], Steps[Any]], what: str, on_done: Callable[[Any], None] | None = None) -> None:
        """Run a command beside the notebook; nothing happens while something is under way.

        Args:
            command: Gives the work's events.
            what: In a word, for the line of status.
            on_done: Called with the result.
        """
        if self.job.is_running:
            return
        self._forgive()
        steps = command()
        self._spot = getattr(self._click, "spot", None)
        self._set_busy(True)
        self.progress.layout.display = ""
        self.progress.value = 0
        self.say(f"{what} …")
        # last: a short run may be over when it returns
        self.job.start(steps, lambda result: self._finished(result, on_done))

    def say(self, text: str) -> None:
        """Show a line of status.

        Args:
            text: The line.
        """
        self.status.value = text

    def guarded(self, command: Callable[[], None], beside: widgets.HTML | None = None) -> Callable[..., None]:
        """A callback whose errors appear in the page's head: JupyterLab shows them nowhere else.

        Args:
            command: What a click does.
            beside: Says it in a line too, where the control is; also of the work that the callback starts.
        """

        def call(*_: Any) -> None:
            self._click.spot = beside
            try:
                command()
            except Exception as error:  # noqa: BLE001
                self._show(error, beside)
            finally:
                self._click.spot = None

        return call

    # What comes back --------------------------------------------------------------------------------------

    def _progress(self, progress: Progress) -> None:
        self.progress.max, self.progress.value = progress.total or progress.done, progress.done
        self.say(f"{progress.label}: {progress.done} of {progress.total or '?'}{self._time_left(progress)}")
        self.runs.hear(progress)

    def _time_left(self, progress: Progress) -> str:
        now = time.monotonic()
        if self._begun[1] != progress.label:
            self._begun = now, progress.label
        spent = now - self._begun[0]
        if progress.total is None or progress.done < 2 or spent < 1:
            return ""
        left = round(spent / (progress.done - 1) * (progress.total - progress.done))
        return f", {left // 60}:{left % 60:02d} left"

    def _finished(self, result: Any, on_done: Callable[[Any], None] | None) -> None:
        self.refresh()
        if on_done is not None:
            on_done(result)
        diagnosis = self.session.diagnosis
        self._idle("Done." if diagnosis is None else f"Done: {diagnosis.comparison.images} images.")

    def _stopped(self) -> None:
        text = "Stopped. What was finished is kept; Calibrate and Resume go on from there."
        self.say(text)  # at once
        self.refresh()
        self._idle(text)

    def _failed(self, error: Exception) -> None:
        self._show(error, self._spot)
        self.refresh()
        self._idle("Failed: see below. What was finished before is kept.")

    def _show(self, error: Exception, spot: widgets.HTML | None) -> None:
        self.error.value = error_html(error)
        self.error.layout.display = ""
        if spot is not None:
            spot.value = f"✖ {escaped(str(error).partition(chr(10))[0])}"
            spot.layout.display = ""

    def _forgive(self) -> None:
        """Errors of before are over."""
        self.error.layout.display = "none"
        for spot in (self.what_if.trouble, self.images.trouble, self.runs.trouble, self.versions.trouble):
            spot.layout.display = "none"

    def _idle(self, status: str) -> None:
        self._set_busy(False)
        self.progress.layout.display = "none"
        self.say(status)

    def _set_busy(self, busy: bool) -> None:
        self.run_button.disabled, self.stop_button.disabled = busy, not busy
        for panel in self.panels:
            panel.set_busy(busy)
