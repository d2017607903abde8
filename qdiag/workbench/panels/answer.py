"""The answer: is it bad, where, and the next step as one button; why, and all that can be done, in their own view."""

from functools import partial

import ipywidgets as widgets

from qdiag.explanation.diagnosis import Diagnosis
from qdiag.workbench.controls import button, escaped, row
from qdiag.workbench.offers import Offer
from qdiag.workbench.panels.panel import Desk, Panel
from qdiag.workbench.panels.verdict import figures_html, reasons_html, verdict_html, where

HINT = (
    "<b>Run checks</b> says whether it is quantization (float against 16 and 8 bit, at every layer), which layers are "
    "to blame and why, and what mends it."
)
LOOK = "Its figures are under Versions; <b>Run checks</b> says which layers are to blame for what it loses."
WORDS = {"calibrate": "Calibrating", "equalize": "Equalizing", "what_if": "Trying", "verify": "Verifying"}


class AnswerPanel(Panel):
    """Verdict and figures of the applied version, and its next step, for the page's head; `reasons` is beneath."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.verdict = widgets.HTML(HINT).add_class("qd-verdict")
        self.figures = widgets.HTML().add_class("qd-figures")
        self.place = button("", "qd-where", desk.guarded(self._look), tooltip="Look at this layer")
        self.next = widgets.Box().add_class("qd-next-step")
        self.gain = widgets.HTML().add_class("qd-gain")
        self.blamed = row(widgets.HTML("worst"), self.place)
        self.step = row(self.blamed, widgets.HTML("next"), self.next, self.gain)
        self.widget = widgets.VBox([self.verdict, self.figures, self.step])
        self.why = widgets.HTML().add_class("qd-reasons")
        self.all = widgets.VBox().add_class("qd-suggestions")
        self.reasons = widgets.VBox([self.all, self.why])
        self.show()

    def show(self) -> None:
        session = self.desk.session
        diagnosis, version = session.diagnosis, session.current
        display = "none" if diagnosis is None else ""
        for part in (self.figures, self.step, self.reasons):
            part.layout.display = display
        if diagnosis is None or version is None:
            self.verdict.value = HINT if version is None else f"applied <b>{escaped(version.name)}</b>. {LOOK}"
            return
        self.verdict.value = verdict_html(diagnosis)
        self.figures.value = figures_html(version.name, diagnosis)
        self.why.value = reasons_html(diagnosis)
        self._offer(diagnosis)

    def set_busy(self, busy: bool) -> None:
        for box in (self.next, *self.all.children):
            for child in box.children:
                child.disabled = busy

    def _offer(self, diagnosis: Diagnosis) -> None:
        found = self.desk.session.offers()
        self.place.description = where(diagnosis)
        self.blamed.layout.display = "flex" if self.place.description else "none"
        self.next.children = [self._button(offer, "primary") for offer in found[:1]]
        self.gain.value = _expected(found[0]) if found else _advised(diagnosis)
        lines = [row(self._button(offer), widgets.HTML(escaped(offer.gain))) for offer in found]
        self.all.children = [line.add_class("qd-offer") for line in lines]

    def _button(self, offer: Offer, style: str = "") -> widgets.Button:
        return button(offer.title, "qd-suggest", self.desk.guarded(partial(self._take, offer)), style, offer.code)

    def _take(self, offer: Offer) -> None:
        command = getattr(self.desk.session, offer.command)
        self.desk.start(lambda: command.steps(*offer.arguments, **offer.options), WORDS[offer.command])

    def _look(self) -> None:
        diagnosis = self.desk.session.diagnosis
        if diagnosis is not None and diagnosis.culprits:
            self.desk.select(str(diagnosis.culprits[0].layer.site))


def _advised(diagnosis: Diagnosis) -> str:
    """The first step of those that no button takes."""
    return next((f"<b>{escaped(step.title)}</b>" for step in diagnosis.steps), "")


def _expected(offer: Offer) -> str:
    """What trying it brought, where it was tried."""
    return f"expected: <b>{escaped(offer.gain)}</b>" if offer.gain else ""
