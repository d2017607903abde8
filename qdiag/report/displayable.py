"""What makes a result show itself."""

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from qdiag.errors import OptionError
from qdiag.files import written_whole
from qdiag.report.elements import Report, charts_in

# Renderers are imported where they are used: results are made often and drawn seldom, and plotly, matplotlib and pandas
# take a second to load.
if TYPE_CHECKING:
    import pandas as pd


class Displayable:
    """Gives a result every face from the one method `report()`.

    `report()` lists the result's parts in reading order. What draws a part is a function beside the result, in
    `<result>_parts.py`, that takes the part's values and never the result: so nothing imports its result back, and a
    part can stand in other reports too. A part of a few lines stands in `report()` itself.

    In a terminal `print(result)` and in a notebook the bare name show it; `print()`, `to_pandas()`, `to_json()`,
    `to_html()` and `to_png()` do what they say. The repr stays this class's also where `@dataclass` would write its
    own.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # @dataclass keeps a __repr__ that it finds in the class's own namespace.
        if "__repr__" not in vars(cls):
            cls.__repr__ = Displayable.__repr__  # type: ignore[method-assign]

    def report(self) -> Report:
        """What there is to show."""
        raise NotImplementedError(f"{type(self).__name__} has no report()")

    def __repr__(self) -> str:
        from qdiag.report.to_text import render_text

        return render_text(self.report())

    def print(self, everything: bool = False) -> None:
        """Write to the terminal in colour.

        Args:
            everything: Long tables in full, and collapsed sections open.
        """
        from rich.console import Console

        from qdiag.report.to_text import print_text

        print_text(self.report(), Console(force_jupyter=False), everything)

    def to_pandas(self, key: str = "") -> "pd.DataFrame":
        """A table of the report; columns are named with their units, as `sqnr_db`.

        Args:
            key: Of the table; the main one if not given.
        """
        from qdiag.report.to_pandas import report_frame

        return report_frame(self.report(), key)

    def to_json(self) -> str:
        """Strict JSON; see `qdiag.report.to_json` for how it holds nan and infinity."""
        from qdiag.report.to_json import render_json

        return render_json(self.report())

    @overload
    def to_html(self, path: None = None) -> str: ...
    @overload
    def to_html(self, path: str | os.PathLike[str]) -> Path: ...
    def to_html(self, path: str | os.PathLike[str] | None = None) -> str | Path:
        """One page that needs nothing beside it and no network.

        Args:
            path: Where to write it; None gives the page as a string.

        Raises:
            OptionError: Where the file cannot be written.
        """
        from qdiag.report.to_html import render_page

        page = render_page(self.report())
        return page if path is None else _write(Path(path), page.encode(), "the page")

    def to_png(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Every chart as a picture, numbered and named by its title; the files come back.

        Args:
            folder: Made if need be.

        Raises:
            OptionError: Where a file cannot be written.
        """
        from qdiag.report.to_matplotlib import png

        charts = charts_in(self.report())
        names = [f"{number}-{_words(chart.title)}.png" for number, chart in enumerate(charts, start=1)]
        with contextlib.suppress(OSError):  # what comes of it is said of the first file
            Path(folder).mkdir(parents=True, exist_ok=True)
        return [_write(Path(folder) / name, png(chart), "a picture") for name, chart in zip(names, charts, strict=True)]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook asks for. The JSON has its own media type: JupyterLab would show plain JSON, not the HTML."""
        from qdiag.report.to_html import render_fragment
        from qdiag.report.to_json import MEDIA_TYPE, encode_report
        from qdiag.report.to_text import render_text

        report = self.report()
        return {
            "text/plain": render_text(report),
            "text/html": render_fragment(report),
            MEDIA_TYPE: encode_report(report),
        }


def _words(title: str) -> str:
    """A title as part of a file's name."""
    return "-".join(re.findall(r"[\w.]+", title.lower()))


def _write(path: Path, contents: bytes, what: str) -> Path:
    try:
        with written_whole(path) as draft:
            draft.write_bytes(contents)
    except OSError as error:
        raise OptionError(
            f"cannot write {what} to {path}: {error.strerror}. Give a file in a folder that exists.",
            code="cannot-write",
        ) from error
    return path
