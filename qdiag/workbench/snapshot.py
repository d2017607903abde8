"""The page where no kernel runs: in a notebook that was opened again, on a code host, or in a page made of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from IPython.display import DisplayHandle, display

from qdiag.report.elements import Report
from qdiag.report.to_html import render_fragment
from qdiag.report.to_text import render_text

STYLE = """<style>
.jp-OutputArea:has(.qd-workbench) .qd-snapshot { display: none; }
body:not(:has(.jp-OutputArea)):has(.qd-workbench) .qd-snapshot { display: none; }
.jp-OutputArea:has(.qd-snapshot):not(:has(.qd-workbench)) > :has(> .jupyter-widgets) { display: none; }
</style>"""
"""The report is seen where the page is not; and then JupyterLab's word that it has no widget of that name is not."""
HINT = "What the workbench showed last. Run the cell to go on with it."


class Snapshot:
    """A report beside the page, for where there are no widgets.

    Its pictures take a second to draw, in a thread of their own: nothing waits for them.
    """

    def __init__(self) -> None:
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
        html = f'{STYLE}<div class="qd-snapshot"><p><em>{HINT}</em></p>{render_fragment(report)}</div>'
        return {"text/plain": render_text(report), "text/html": html}
