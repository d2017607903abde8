"""The page where no kernel runs: on a code host, or in a page made of the notebook."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ipywidgets as widgets
from IPython.display import DisplayHandle, display

from qdiag.report.elements import Report
from qdiag.report.to_html import render_fragment
from qdiag.report.to_text import render_text


class Snapshot:
    """A report beside the page, for whoever cannot show widgets; JupyterLab shows a widget of nothing in its place.

    Its pictures take a second to draw, in a thread of their own: nothing waits for them.
    """

    def __init__(self) -> None:
        self._nothing = widgets.HTML(layout={"display": "none"})
        self._artist = ThreadPoolExecutor(1, thread_name_prefix="qdiag-snapshot")
        self._handle: DisplayHandle | None = None

    def show(self, report: Report) -> None:
        """In the output of the cell that runs."""
        self._handle = display(self._types(report), raw=True, display_id=True)

    def update(self, report: Report) -> None:
        """In the place where it was shown last, if it was."""
        if self._handle is not None:
            self._artist.submit(self._draw, self._handle, report)

    def _draw(self, handle: DisplayHandle, report: Report) -> None:
        handle.update(self._types(report), raw=True)

    def _types(self, report: Report) -> dict[str, Any]:
        own = {"text/plain": render_text(report), "text/html": render_fragment(report)}
        return {**self._nothing._repr_mimebundle_(), **own}
