"""Files of one folder get their places together."""

from pathlib import Path

import pytest

from qdiag.errors import OptionError
from qdiag.files import FilesTogether

ADVICE = "Name another folder."


def write(folder: Path, text: str) -> None:
    with FilesTogether(folder, ADVICE) as files:
        files.write("settings.txt", text, last=True)
        files.write("network.txt", text)


def stopped(folder: Path) -> None:
    with FilesTogether(folder, ADVICE) as files:
        files.write("network.txt", "after")
        raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_what_is_stopped_leaves_all_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, "before")
    with pytest.raises(KeyboardInterrupt):
        stopped(tmp_path)
    assert contents(tmp_path) == {"settings.txt": "before", "network.txt": "before"}


def test_between_two_files_there_is_nothing_to_start_with(tmp_path: Path) -> None:
    write(tmp_path, "before")
    (tmp_path / "network.txt").unlink()
    (tmp_path / "network.txt" / "in the way").mkdir(parents=True)
    with pytest.raises(OptionError, match=r"was not written.*Name another folder"):
        write(tmp_path, "after")
    assert contents(tmp_path) == {}


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, "one")
    write(tmp_path, "two")
    assert contents(tmp_path) == {"settings.txt": "two", "network.txt": "two", "notes.txt": "mine"}
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_is_not_there_is_an_error_with_the_advice(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Name another folder"):
        write(tmp_path / "missing", "one")
