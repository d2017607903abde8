"""The answer: is it bad, is it quantization, what to do; and buttons that try it."""

from typing import Any

import ipywidgets as widgets

from qdiag.explanation.culprit import Culprit, covering
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.workbench.controls import button, escaped, row
from qdiag.workbench.panels.panel import Desk, Panel
from qdiag.workbench.panels.verdict import reasons_html, verdict_html

SUGGESTED = 5
"""Culprits that one click changes, at most."""
COVERED = 0.9
HINT = (
    "<b>Run checks</b> says whether it is quantization (float against 16 and 8 bit, at every layer), which layers are "
    "to blame and why, and what mends it."
)
LOOK = "Its figures are in the history below; <b>Run checks</b> says which layers are to blame for what it loses."


class AnswerPanel(Panel):
    """Verdict and figures of the applied version, its next steps as buttons; why, and all that can be done, folded."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.verdict = widgets.HTML().add_class("qd-verdict")
        self.suggestions = row()
        self.suggestions.add_class("qd-suggestions")
        # An Accordion's titles take no focus, so that no key opens them.
        self.fold = widgets.ToggleButton(description="Why, and what to do")
        self.fold.layout = {"width": "auto", "align_self": "flex-start"}
        self.fold.add_class("qd-fold")
        self.fold.observe(lambda _: self._unfold(), "value")
        self.reasons = widgets.HTML().add_class("qd-reasons")
        self.widget = widgets.VBox([self.verdict, self.suggestions, self.fold, self.reasons])

    def show(self) -> None:
        diagnosis, version = self.desk.session.diagnosis, self.desk.session.current
        if diagnosis is None or version is None:
            self.verdict.value = HINT if version is None else f"applied <b>{escaped(version.name)}</b>. {LOOK}"
            self.suggestions.children = []
            self.reasons.value = ""
            self._unfold()
            return
        self.verdict.value = verdict_html(version.name, diagnosis)
        self.reasons.value = reasons_html(diagnosis)
        self._unfold()
        self.suggestions.children = self._buttons(diagnosis)

    def _unfold(self) -> None:
        self.fold.layout.display = "" if self.reasons.value else "none"
        self.reasons.layout.display = "" if self.fold.value else "none"

    def set_busy(self, busy: bool) -> None:
        for child in self.suggestions.children:
            child.disabled = busy

    def _buttons(self, diagnosis: Diagnosis) -> list[widgets.Widget]:
        session = self.desk.session
        worst = covering(diagnosis.culprits, COVERED)[:SUGGESTED]
        if diagnosis.verdict.kind not in ("quantization", "small-loss") or not worst:
            return []
        names = [str(culprit.layer.site) for culprit in worst]
        weighted = [str(culprit.layer.site) for culprit in worst if culprit.layer.is_weighted]
        made = []
        if weighted:
            made.append(self._try(f"Try per-channel weights: {_count(weighted, 'layers')}", weighted, per_channel=True))
        made.append(self._try(f"Try 16 bit: {_count(names, 'culprits')}", names, bits=16))
        if "equalization" not in session.history and any(_is_uneven(culprit) for culprit in worst):
            made.append(self._calibrate("Equalize channels", ["equalization"]))
        if "best" not in session.history:
            made.append(self._calibrate("Calibrate: best", "best"))
        return made

    def _calibrate(self, text: str, method: str | list[str]) -> widgets.Button:
        def start() -> None:
            self.desk.start(lambda: self.desk.session.calibrate.steps(method), "Calibrating")

        return button(text, "qd-suggest", self.desk.guarded(start))

    def _try(self, text: str, names: list[str], **options: Any) -> widgets.Button:
        def steps() -> None:
            self.desk.start(lambda: self.desk.session.what_if.steps(names, **options), "Trying")

        return button(text, "qd-suggest", self.desk.guarded(steps), tooltip=", ".join(names))


def _is_uneven(culprit: Culprit) -> bool:
    return any(
        evidence.cause in ("weight-channel-spread", "activation-channel-spread") for evidence in culprit.evidence
    )


def _count(names: list[str], what: str) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} {what}"
