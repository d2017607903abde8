"""An earlier session of the same model, to go on with after its kernel is gone."""

import ipywidgets as widgets

from qdiag.workbench.controls import button, escaped, row
from qdiag.workbench.panels.panel import Desk, Panel


class EarlierPanel(Panel):
    """The latest one, with what it holds. Gone as soon as this session has a history of its own."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        name, contents = next(iter(desk.session.earlier.items()), ("", []))
        self.name = name
        day, _, time = name.partition("_")
        text = f"Go on with the session of {day}, {time.partition('.')[0].replace('-', ':')}"
        self.button = button(text, "qd-restore", desk.guarded(self.restore), "warning")
        found = widgets.HTML(f"it has <b>{escaped(', '.join(contents))}</b>").add_class("qd-earlier")
        self.widget = row(self.button, found)

    def restore(self) -> None:
        self.desk.start(lambda: self.desk.session.restore.steps(self.name), "Reading the session")

    def show(self) -> None:
        folder, versions = self.desk.session.folder, len(self.desk.session.history)
        is_another = folder is not None and self.name not in ("", folder.name)
        self.widget.layout.display = "flex" if is_another and versions <= 1 else "none"

    def set_busy(self, busy: bool) -> None:
        self.button.disabled = busy
