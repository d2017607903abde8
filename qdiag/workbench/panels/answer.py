"""The answer: is it bad, is it quantization, what to do; and buttons that try it."""

from typing import Any

import ipywidgets as widgets

from qdiag.explanation.culprit import Culprit, covering
from qdiag.explanation.diagnosis import Diagnosis
from qdiag.explanation.diagnosis_parts import blame
from qdiag.explanation.loss import LIMIT_POINTS
from qdiag.workbench.controls import button, escaped, marked, row
from qdiag.workbench.panels.panel import Desk, Panel

SUGGESTED = 5
"""Culprits that one click changes, at most."""
COVERED = 0.9
HINT = (
    "<b>Run checks</b> says whether it is quantization (float against 16 and 8 bit, at every layer), which layers are "
    "to blame and why, and what mends it."
)
LOOK = "Its figures are in the history below; <b>Run checks</b> says which layers are to blame for what it loses."


class AnswerPanel(Panel):
    """Verdict and figures of the applied version, and its next steps as buttons."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.verdict = widgets.HTML().add_class("qd-verdict")
        self.suggestions = row()
        self.suggestions.add_class("qd-suggestions")
        self.widget = widgets.VBox([self.verdict, self.suggestions])

    def show(self) -> None:
        diagnosis, version = self.desk.session.diagnosis, self.desk.session.current
        if diagnosis is None or version is None:
            self.verdict.value = HINT if version is None else f"applied <b>{escaped(version.name)}</b>. {LOOK}"
            self.suggestions.children = []
            return
        self.verdict.value = verdict_html(version.name, diagnosis)
        self.suggestions.children = self._buttons(diagnosis)

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


def verdict_html(name: str, diagnosis: Diagnosis) -> str:
    """The verdict, the figures, and the next steps."""
    symbol = {"healthy": "✔", "small-loss": "▲"}.get(diagnosis.verdict.kind, "✖")
    comparison = diagnosis.comparison
    figures = [f"applied <b>{escaped(name)}</b>"]
    if comparison.float_top1_percent is not None:
        figures.append(f"float <b>{comparison.float_top1_percent:.1f} %</b>")
    for lane in comparison.lanes:
        output = comparison.outputs[lane]
        agreement = output.agreement_percent if output.means_classes else None
        figure = output.top1_percent if output.top1_percent is not None else agreement
        shown = f"{output.worst_sqnr_db:.1f} dB" if figure is None else f"{figure:.1f} %"
        figures.append(f"{escaped(lane)} <b>{shown}</b>")
    drop = comparison.outputs[comparison.lanes[-1]].drop_points
    if drop is not None:
        figures.append(f"drop <b>{drop:.1f}</b> points (limit {LIMIT_POINTS:.1f})")
    if diagnosis.lint is not None:
        found = [finding.severity for finding in diagnosis.lint.findings]
        figures.append(f"lint <b>{found.count('error')} errors, {found.count('warning')} warnings</b>")
    steps = "".join(
        f"<li><b>{escaped(s.title)}</b> {escaped(s.text)} <code>{escaped(s.code)}</code></li>" for s in diagnosis.steps
    )
    blamed = ""
    if diagnosis.culprits and diagnosis.verdict.kind != "healthy":
        worst = diagnosis.culprits[0]
        why = f" In `{worst.layer.site}`, {worst.evidence[0].text}." if worst.evidence else ""
        blamed = f"<br>{marked(blame(diagnosis.culprits, diagnosis.trials).text + why)}"
    headline, text = escaped(diagnosis.verdict.headline), escaped(diagnosis.verdict.text)
    return (
        f'<div style="line-height:1.45"><b>{symbol} {headline}</b> {text}{blamed}<br>'
        f"{' &nbsp; '.join(figures)} &nbsp; on {comparison.images} images<ol>{steps}</ol></div>"
    )


def _is_uneven(culprit: Culprit) -> bool:
    return any(
        evidence.cause in ("weight-channel-spread", "activation-channel-spread") for evidence in culprit.evidence
    )


def _count(names: list[str], what: str) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} {what}"
