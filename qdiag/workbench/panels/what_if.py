"""What if: change formats of some layers, see what that does, and then apply it or leave it."""

from typing import Any

import ipywidgets as widgets

from qdiag.errors import OptionError
from qdiag.workbench.controls import button, complaint, escaped, row, toggles
from qdiag.workbench.panels.panel import Desk, Panel
from qdiag.workbench.version import Version

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "16 bit": ("weights and output", {"bits": 16}),
    "8 bit": ("weights and output", {"bits": 8}),
    "in float": ("not quantized at all", {"bits": None}),
    "per-channel": ("one scale for each output channel of the weights", {"per_channel": True}),
    "per-tensor": ("one scale for all weights of the layer", {"per_channel": False}),
    "ranges × 2": ("of the outputs: clips less, rounds twice as coarsely", {"octaves": 1}),
    "ranges ÷ 2": ("of the outputs: clips more, rounds twice as finely", {"octaves": -1}),
    "equalize": ("multiply channels by powers of two, so that one scale serves all of them", {}),
}
"""By name: what it means, and the options of `Session.what_if`; without options it is `Session.equalize`."""
EVERY, DEPTHWISE, CULPRITS = "all layers", "depthwise layers", "culprits"


class WhatIfPanel(Panel):
    """Layers by name, pattern or rule, and a change; `result`, its effect and Apply, is for the page's head."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.layers = widgets.Combobox(placeholder="layer, pattern or rule", layout={"width": "300px"})
        self.layers.add_class("qd-what-if-layers")
        self.change = toggles(CHANGES, "qd-what-if-change", [meaning for meaning, _ in CHANGES.values()])
        self.trouble = complaint("qd-what-if-trouble")
        self.try_button = button("Try", "qd-try", desk.guarded(self.try_it, self.trouble), "info")
        self.effect = widgets.HTML().add_class("qd-effect")
        self.apply_button = button("Apply", "qd-apply-tried", desk.guarded(self.apply), "success")
        self.result = row(widgets.HTML("tried"), self.effect, self.apply_button)
        self.result.layout.display = "none"
        self.tried, self.cleared = "", ""
        self.widget = widgets.VBox(
            [row(widgets.Label("What if"), self.layers, self.try_button), self.change, self.trouble]
        )
        self.widget.layout.display = "none"

    def follow(self, name: str) -> None:
        """The layer that is looked at is the one to change, unless a pattern or rule was put there."""
        self.layers.value = name

    def try_it(self) -> None:
        self._clear()
        session, wanted, (_, options) = self.desk.session, self._chosen(), CHANGES[self.change.value]
        if options:
            self.desk.start(lambda: session.what_if.steps(wanted, **options), "Trying", self._made)
        else:
            self.desk.start(lambda: session.equalize.steps(wanted), "Equalizing", self._made)

    def _clear(self) -> None:
        """What was tried before is no answer to what is tried now, should that fail."""
        self.cleared = "".join(list(self.desk.session.history)[-1:])
        self.result.layout.display = "none"

    def _made(self, _: Version) -> None:
        self.cleared = ""
        self.show()

    def apply(self) -> None:
        self.desk.start(lambda: self.desk.session.apply.steps(self.tried), "Applying")

    def show(self) -> None:
        session = self.desk.session
        if session.diagnosis is None or session.current is None:
            self.widget.layout.display = self.result.layout.display = "none"
            return
        layers = session.diagnosis.comparison.layers
        self.layers.options = [EVERY, DEPTHWISE, CULPRITS, *(str(layer.site) for layer in layers)]
        self.widget.layout.display = ""
        last = list(session.history.values())[-1]
        is_new = last is not session.current and last.name != self.cleared
        self.tried = last.name if is_new else ""
        self.effect.value = effect_html(session.current, last) if is_new else ""
        self.result.layout.display = "flex" if is_new else "none"

    def set_busy(self, busy: bool) -> None:
        self.try_button.disabled = self.apply_button.disabled = busy

    def _chosen(self) -> list[str]:
        diagnosis, wanted = self.desk.session.diagnosis, self.layers.value.strip()
        assert diagnosis is not None, "the panel is hidden before a diagnosis"
        if wanted == EVERY:
            return ["*"]
        if wanted == DEPTHWISE:
            return [str(layer.site) for layer in diagnosis.comparison.layers if layer.is_depthwise]
        if wanted == CULPRITS and not diagnosis.culprits:
            raise OptionError(
                "there are no culprits: the applied version loses nothing that one layer is to blame for.",
                code="no-culprits",
            )
        if wanted == CULPRITS:
            return [str(culprit.layer.site) for culprit in diagnosis.culprits]
        return [part.strip() for part in wanted.split(",") if part.strip()]


def effect_html(before: Version, after: Version) -> str:
    """The figures of two versions, from and to."""
    if before.measured is None or after.measured is None:
        return f"<b>{escaped(after.name)}</b>: not measured"
    parts = [f"output {before.output.sqnr_db:.1f} → <b>{after.output.sqnr_db:.1f} dB</b>"]
    if before.output.agreement_percent is not None and after.output.agreement_percent is not None:
        parts.append(
            f"agrees with float {before.output.agreement_percent:.1f} → <b>{after.output.agreement_percent:.1f} %</b>"
        )
    if before.output.top1_percent is not None and after.output.top1_percent is not None:
        parts.append(f"top-1 {before.output.top1_percent:.1f} → <b>{after.output.top1_percent:.1f} %</b>")
    if before.score is not None and after.score is not None:
        parts.append(f"your evaluate {before.score:.4g} → <b>{after.score:.4g}</b>")
    return f"<b>{escaped(after.name)}</b>: {' · '.join(parts)}"
