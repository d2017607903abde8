"""The history: every version side by side; apply, undo, code, verify, export, and what the device made of it."""

import ipywidgets as widgets

from qdiag.report.displayable import Displayable
from qdiag.report.to_html import render_fragment
from qdiag.workbench.controls import button, complaint, escaped, row, shown
from qdiag.workbench.panels.panel import Desk, Panel
from qdiag.workbench.session_parts import history_table

EXPORT_FOLDER, DUMP_FOLDER = "for_target", "traces"
BY_LAYER = "this version and the applied one beside float, at every layer"
DUMPED = "TIDL's traces, or .npy files, that the device wrote of the first image"


class VersionsPanel(Panel):
    """What was tried, with its numbers. The applied version is the one that all else works on."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.trouble = trouble = complaint("qd-versions-trouble")
        self.table = widgets.HTML().add_class("qd-versions")
        table = widgets.Box([self.table], layout={"overflow": "auto"})  # where the window is narrow, it scrolls
        self.choice = widgets.Combobox(placeholder="version", ensure_option=True, layout={"width": "420px"})
        self.choice.add_class("qd-version")
        self.apply_button = button("Apply", "qd-apply", desk.guarded(self.apply, trouble))
        self.undo_button = button("Undo", "qd-undo", desk.guarded(self.undo, trouble))
        self.code_button = button("Code", "qd-code", desk.guarded(self.show_code, trouble))
        self.compare_button = button("By layer", "qd-by-layer", desk.guarded(self.compare, trouble), tooltip=BY_LAYER)
        self.verify_button = button("Verify applied", "qd-verify", desk.guarded(self.verify, trouble))
        self.folder = widgets.Text(EXPORT_FOLDER, layout={"width": "160px"})
        self.export_button = button("Export applied to", "qd-export", desk.guarded(self.export, trouble))
        self.question = widgets.HTML().add_class("qd-question")
        self.replace_button = button(
            "Export all the same", "qd-replace", desk.guarded(self.replace, trouble), "warning"
        )
        self.asked = row(self.question, self.replace_button)
        self.asked.layout.display = "none"
        self.dump = widgets.Text(DUMP_FOLDER, layout={"width": "160px"}).add_class("qd-dump-folder")
        self.dump_button = button(
            "Compare with device's tensors in", "qd-dump", desk.guarded(self.compare_dump, trouble), tooltip=DUMPED
        )
        self.code = widgets.HTML().add_class("qd-code-text")
        compare = row(self.choice, self.apply_button, self.undo_button, self.code_button, self.compare_button)
        deliver = row(self.verify_button, self.export_button, self.folder, self.dump_button, self.dump)
        self.widget = widgets.VBox(
            [table, compare, deliver, self.asked, self.trouble, self.code], layout={"display": "none"}
        )

    def apply(self) -> None:
        name = self.choice.value
        self.desk.start(lambda: self.desk.session.apply.steps(name), "Applying")

    def undo(self) -> None:
        self.desk.session.undo()
        self.desk.start(lambda: self.desk.session.apply.steps(self._applied()), "Undoing")

    def compare(self) -> None:
        session, names = self.desk.session, dict.fromkeys([self._applied(), self.choice.value])
        self.desk.start(lambda: session.compare.steps(*names), "Comparing", self._show_result)

    def verify(self) -> None:
        self.desk.start(self.desk.session.verify.steps, "Verifying")

    def show_code(self) -> None:
        self.code.value = f"<pre>{escaped(self.desk.session.code(self.choice.value))}</pre>"

    def export(self) -> None:
        """Ask first where the folder holds something else."""
        folder = self.folder.value
        found = self.desk.session.taken(folder)
        self.question.value = f"<code>{escaped(folder)}</code> holds {escaped(found)}."
        self.asked.layout.display = "flex" if found else "none"
        if not found:
            self.replace()

    def replace(self) -> None:
        """Export, whatever is in the folder."""
        folder = self.folder.value
        self.asked.layout.display = "none"
        self.desk.start(lambda: self.desk.session.export.steps(folder, replace=True), "Exporting", self._show_result)

    def compare_dump(self) -> None:
        folder = self.dump.value
        self.desk.start(lambda: self.desk.session.compare_dump.steps(folder), "Comparing", self._show_result)

    def _show_result(self, result: Displayable) -> None:
        self.code.value = render_fragment(result.report())

    def show(self) -> None:
        session = self.desk.session
        if not session.history:
            return
        table = history_table(session.history.values(), session.current, session.verifications, session.float_score)
        self.table.value = shown("History", table)
        self.choice.options = list(session.history)
        self.choice.value = list(session.history)[-1]
        self.widget.layout.display = ""

    def set_busy(self, busy: bool) -> None:
        at_work = self.apply_button, self.undo_button, self.compare_button
        deliver = self.verify_button, self.export_button, self.replace_button, self.dump_button
        for control in (*at_work, *deliver):
            control.disabled = busy

    def _applied(self) -> str:
        current = self.desk.session.current
        assert current is not None, "the panel is hidden before there is one"
        return current.name
