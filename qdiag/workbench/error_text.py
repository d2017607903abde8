"""An exception, as the page shows it: what happened, where, and what to do."""

import os
import sysconfig
import traceback
from pathlib import Path

from qdiag.errors import QdiagError
from qdiag.tracing.source import Source
from qdiag.workbench.controls import escaped

OTHERS = tuple(
    f"{folder}{os.sep}"
    for folder in (
        Path(__file__).parents[1],
        *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
    )
)
"""qdiag's own folder, and those of Python and of what is installed."""


def error_html(error: BaseException) -> str:
    """The message; the line of the user's own code that it came through; and all of the way there, folded.

    An error of ours says by itself what to do, and needs no details.
    """
    code = f" [{error.code}]" if isinstance(error, QdiagError) and error.code else ""
    lines = [f"✖ <b>{type(error).__name__}</b>{code}: {escaped(error)}"]
    own = user_frame(error)
    if own is not None:
        place = Source(own.filename, own.lineno or 0, own.name)
        lines.append(
            f"raised in your code, at {escaped(place)} in {escaped(own.name)}: <code>{escaped(own.line)}</code>"
        )
    if not isinstance(error, QdiagError):
        advice = "This is a defect of qdiag: please report it with the details."
        if own is not None:
            advice = "Mend it there, run that cell again, and then the one of this page: what was finished is kept."
        lines.append(advice)
    if own is not None or not isinstance(error, QdiagError):
        details = escaped("".join(traceback.format_exception(error)))
        lines.append(f"<details><summary>Details</summary><pre>{details}</pre></details>")
    return f'<div class="qd-error" style="line-height:1.45">{"<br>".join(lines)}</div>'


def user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost frame that is neither qdiag's nor of an installed package, of the deepest cause that has one."""
    cause: BaseException | None = error
    found = None
    while cause is not None:
        frames = traceback.extract_tb(cause.__traceback__)
        found = next((frame for frame in reversed(frames) if _is_users(frame.filename)), found)
        cause = cause.__cause__ or cause.__context__
    return found


def _is_users(filename: str) -> bool:
    return not filename.startswith((*OTHERS, "<"))
