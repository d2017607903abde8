"""What the applied version makes of single images."""

import ipywidgets as widgets

from qdiag.report.to_html import render_fragment
from qdiag.workbench.controls import button, complaint, escaped, row
from qdiag.workbench.panels.panel import Desk, Panel

WHAT = (
    "Runs every image in float and in the applied version, and shows those that are decided otherwise: flipped "
    "classes, changed masks, lost boxes, or values beside float's."
)


class ImagesPanel(Panel):
    """A button, and what it found of the version that is applied now."""

    def __init__(self, desk: Desk):
        super().__init__(desk)
        self.trouble = complaint("qd-images-trouble")
        self.button = button("Look at the images", "qd-look", desk.guarded(self.look, self.trouble), "info", WHAT)
        self.state = widgets.HTML().add_class("qd-images-state")
        self.found = widgets.HTML().add_class("qd-images")
        controls = row(self.button, self.state)
        self.widget = widgets.VBox([controls, self.trouble, self.found], layout={"display": "none"})

    def look(self) -> None:
        self.desk.start(self.desk.session.compare_images.steps, "Looking at images")

    def show(self) -> None:
        session = self.desk.session
        if session.current is None:
            return
        images = session.images
        self.found.value = "" if images is None else render_fragment(images.report())
        name = f"<b>{escaped(session.current.name)}</b>"
        self.state.value = f"in {name}" if images is not None else f"which of them are decided otherwise in {name}?"
        self.widget.layout.display = ""

    def set_busy(self, busy: bool) -> None:
        self.button.disabled = busy
