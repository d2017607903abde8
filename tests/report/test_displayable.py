import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from IPython.core.formatters import DisplayFormatter

from qdiag.errors import OptionError
from qdiag.report.displayable import Displayable
from qdiag.report.to_html import render_page
from qdiag.report.to_text import render_text
from tests.report.samples import EVERY_KIND, Shown


def test_a_dataclass_is_shown_by_its_report() -> None:
    assert repr(Shown()) == str(Shown()) == render_text(EVERY_KIND)


def test_a_repr_of_its_own_stays() -> None:
    class Short(Displayable):
        def __repr__(self) -> str:
            return "short"

    assert repr(Short()) == "short"


def test_a_result_must_say_what_there_is_to_show() -> None:
    @dataclass(frozen=True)
    class Mute(Displayable):
        pass

    with pytest.raises(NotImplementedError, match=r"Mute has no report\(\)"):
        repr(Mute())


def test_print_writes_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Shown().print()
    Shown().print(everything=True)
    shown, everything = capsys.readouterr().out.split(EVERY_KIND.title)[1:]
    assert "Nothing to see." not in shown
    assert "Nothing to see." in everything


def test_a_notebook_gets_text_html_and_json_of_our_own_type() -> None:
    bundle, _ = DisplayFormatter().format(Shown())
    assert set(bundle) == {"text/plain", "text/html", "application/vnd.qdiag.report.v1+json"}
    assert bundle["text/html"].startswith('<div class="qd-report">')
    assert bundle["application/vnd.qdiag.report.v1+json"] == json.loads(Shown().to_json())


def test_the_main_table_is_a_frame() -> None:
    assert Shown().to_pandas().equals(Shown().to_pandas("findings"))


def test_a_page_is_a_string_or_a_file(tmp_path: Path) -> None:
    page = render_page(EVERY_KIND)
    assert Shown().to_html() == page
    written = Shown().to_html(tmp_path / "report.html")
    assert written == tmp_path / "report.html"
    assert written.read_text(encoding="utf-8") == page
    assert Shown().to_html(str(written)) == written


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OptionError, match=r"(?s)report\.html: No space left.*cannot-write"):
        Shown().to_html(path)
    assert [(file.name, file.read_text(encoding="utf-8")) for file in tmp_path.iterdir()] == [("report.html", "old")]


def test_a_folder_that_is_not_there_is_an_option_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"(?s)a folder that exists.*cannot-write"):
        Shown().to_html(tmp_path / "nowhere" / "report.html")
