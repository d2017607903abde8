"""The page where no kernel runs: on a code host, or in a page made of the notebook."""

from typing import Any

import ipywidgets as widgets

from qdiag.workbench.session import Session


def still(session: Session, nothing: widgets.Widget) -> dict[str, Any]:
    """A display's media types: the session's report, and a widget that shows nothing, which JupyterLab prefers.

    Whoever cannot show widgets shows the report.
    """
    return session._repr_mimebundle_() | nothing._repr_mimebundle_() | {"text/plain": str(session)}
