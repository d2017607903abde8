"""Where things stand on the page. Which view is shown, and what is beside what, is the browser's work alone."""

from collections.abc import Mapping
from pathlib import Path

import ipywidgets as widgets

from qdiag.workbench.controls import toggles

LAYERS, WHY, IMAGES, RUNS, VERSIONS, LINT = VIEWS = (
    "Layers",
    "Why, and what to do",
    "Images",
    "Calibrate and train",
    "Versions",
    "Lint",
)
HINT = "Nothing to show here yet: <b>Run checks</b> first."


def style() -> widgets.HTML:
    """The page's style sheet, which stands in the page itself."""
    made = widgets.HTML(f"<style>{Path(__file__).with_name('page.css').read_text()}</style>")
    made.layout.display = "none"
    return made


def views(panels: Mapping[str, widgets.Widget]) -> tuple[widgets.ToggleButtons, widgets.Box]:
    """Buttons with the panels' names, and the body, where the style sheet shows the panel whose button is pressed."""
    choice = toggles(panels, "qd-view")
    panes = [widgets.VBox([panel, widgets.HTML(HINT).add_class("qd-hint")]) for panel in panels.values()]
    return choice, widgets.Box([pane.add_class("qd-pane") for pane in panes]).add_class("qd-body")
