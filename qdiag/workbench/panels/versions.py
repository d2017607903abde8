"""The history: every version side by side; apply, undo, code, verify, export, and what the device made of it."""

import ipywidgets as widgets

from qdiag.report.displayable import Displayable
from qdiag.report.to_html import render_fragment
from qdiag.workbench.controls import button, complaint, escaped, row
from qdiag.workbench.panels.panel import Desk, Panel
from qdiag.workbench.picture import Part, Picture
from qdiag.workbench.version_table import VersionTable

EXPORT_FOLDER, DUMP_FOLDER = "for_target", "traces"
BY_LAYER = "the ticked versions beside float, at every layer; without ticks the selected one and the applied one"
DUMPED = "TIDL's traces, or .npy files, that the device wrote of the first image"


class VersionsPanel(Panel):
    """What was tried, with its numbers. The applied version is the one that all else works on."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.trouble = trouble = complaint("qd-versions-trouble")
        self.choice = widgets.Combobox(placeholder="version", ensure_option=True, layout={"width": "320px"})
        self.choice.add_class("qd-version")
        self.choice.observe(desk.guarded(self._chosen), "value")
        self.table = VersionTable(self.choice)
        self.table.add_class("qd-versions")
        self.costs = Picture("qd-costs", {"cost": Part(260)})
        self.apply_button = button("Apply", "qd-apply", desk.guarded(self.apply, trouble))
        self.undo_button = button("Undo", "qd-undo", desk.guarded(self.undo, trouble))
        self.code_button = button("Code", "qd-code", desk.guarded(self.show_code, trouble))
        self.compare_button = button(
            "Compare ticked", "qd-by-layer", desk.guarded(self.compare, trouble), tooltip=BY_LAYER
        )
        self._make_words()
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
        parts = self.table, compare, self.words, deliver, self.asked, self.trouble, self.code, self.costs
        self.widget = widgets.VBox(parts, layout={"display": "none"})

    def _make_words(self) -> None:
        """What the user says of the selected version."""
        guarded = self.desk.guarded
        self.title = widgets.Text(placeholder="title", layout={"width": "160px"}).add_class("qd-title")
        self.note = widgets.Text(placeholder="note", layout={"width": "260px"}).add_class("qd-note-text")
        self.keep_button = button("Save title and note", "qd-annotate", guarded(self.annotate, self.trouble))
        self.pin_button = button("Pin", "qd-pin", guarded(self.pin, self.trouble), tooltip="To the top of the table")
        self.delete_button = button("Delete", "qd-delete", guarded(self.delete, self.trouble))
        self.words = row(self.title, self.note, self.keep_button, self.pin_button, self.delete_button)

    def annotate(self) -> None:
        found = self.desk.session.annotate(self.choice.value, title=self.title.value, note=self.note.value)
        self.show()
        self.choice.value = found.called

    def pin(self) -> None:
        name = self.choice.value
        self.desk.session.annotate(name, pinned=not self.desk.session.history.find(name).is_pinned)
        self.show()
        self.choice.value = name

    def delete(self) -> None:
        self.desk.session.delete(self.choice.value)
        self.desk.refresh()

    def _chosen(self) -> None:
        if self.choice.value in self.choice.options:
            version = self.desk.session.history.find(self.choice.value)
            self.title.value, self.note.value = version.title, version.note
            self.pin_button.description = "Unpin" if version.is_pinned else "Pin"

    def apply(self) -> None:
        name = self.choice.value
        self.desk.start(lambda: self.desk.session.apply.steps(name), "Applying")

    def undo(self) -> None:
        self.desk.session.undo()
        self.desk.start(lambda: self.desk.session.apply.steps(self._applied()), "Undoing")

    def compare(self) -> None:
        session = self.desk.session
        names = self.table.ticked or dict.fromkeys([self._applied(), session.history.find(self.choice.value).name])
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
        versions = session.versions()
        self.table.show(versions)
        self.costs.show([] if versions.chart is None else [versions.chart])
        self.choice.options = versions.called
        self.choice.value = list(session.history.values())[-1].called
        self._chosen()
        self.widget.layout.display = ""

    def set_busy(self, busy: bool) -> None:
        at_work = self.apply_button, self.undo_button, self.compare_button, self.delete_button
        deliver = self.verify_button, self.export_button, self.replace_button, self.dump_button
        for control in (*at_work, *deliver):
            control.disabled = busy

    def _applied(self) -> str:
        current = self.desk.session.current
        assert current is not None, "the panel is hidden before there is one"
        return current.name
