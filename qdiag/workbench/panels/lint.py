"""What reading the model found."""

import ipywidgets as widgets

from qdiag.report.to_html import render_fragment
from qdiag.workbench.panels.panel import Desk, Panel


class LintPanel(Panel):
    """Every finding: rule, where, file and line, why, and the fix to copy."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.findings = widgets.HTML().add_class("qd-lint")
        self.widget = widgets.Box([self.findings], layout={"display": "none"})

    def show(self) -> None:
        diagnosis = self.desk.session.diagnosis
        if diagnosis is not None and diagnosis.lint is not None:
            self.findings.value = render_fragment(diagnosis.lint.report())
            self.widget.layout.display = ""
