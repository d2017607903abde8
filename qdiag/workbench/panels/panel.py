"""What a panel is, and what it may ask of the page that it is on."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import ipywidgets as widgets

from qdiag.progress import Steps
from qdiag.workbench.session import Session


class Desk(Protocol):
    """The page, as its panels see it."""

    session: Session
    lock: AbstractContextManager[Any]

    def start(self, command: Callable[[], Steps[Any]], what: str, on_done: Callable[[Any], None] | None = None) -> None:
        """Run a command's steps beside the notebook; nothing happens while another one runs.

        on_done: takes the result, when the panels have been brought up to date.
        """

    def guarded(self, command: Callable[[], None], beside: widgets.HTML | None = None) -> Callable[..., None]:
        """A callback whose errors appear in the page's head: JupyterLab shows them nowhere else.

        beside: says it in a line too, where the control is; also of the work that the callback starts.
        """

    def refresh(self) -> None:
        """Show what the session holds now, in every panel."""

    def select(self, name: str) -> None:
        """Make a layer the selected one, and show it."""


class Panel:
    """One part of the page. `widget` is made once; `show` brings it up to date with the session."""

    widget: widgets.Widget

    def __init__(self, desk: Desk):
        self.desk = desk

    def show(self) -> None:
        """Called under the page's lock, from whichever thread has changed the session."""

    def set_busy(self, busy: bool) -> None:
        """Called when a command begins and when it has ended."""
