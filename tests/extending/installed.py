"""Puts a file where an installed package's would be, with the entry points that name its classes."""

from pathlib import Path
from typing import Any

import pytest

from qdiag.registry import Registry


def install(file: str, points: dict[Registry[Any], str], folder: Path, patch: pytest.MonkeyPatch) -> None:
    """As `pip install` of a package with this module does.

    file: a module's name in this folder. points: the class that each open set finds in it.
    """
    (folder / f"{file}.py").write_text(Path(__file__).with_name(f"{file}.py").read_text(encoding="utf-8"))
    metadata = folder / f"{file}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {file}\nVersion: 1.0\n")
    lines = [f"[qdiag.{place(found)}]\nours = {file}:{name}\n" for found, name in points.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    for found in points:
        assert found.members  # as it was: comes back after the test
        patch.delitem(vars(found), "members")
    patch.syspath_prepend(folder)


def place(found: Registry[Any]) -> str:
    """The group of entry points, after `qdiag.`"""
    return found.package.rpartition(".")[2]
