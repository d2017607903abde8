"""What each room may import, as its `__init__` says it, is what the import contract allows."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "qdiag"
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def layers() -> list[list[str]]:
    """Rooms from top to bottom; those side by side do not know each other."""
    (contract,) = (contract for contract in CONTRACTS if contract["id"] == "rooms")
    return [[room.strip(" ()") for room in layer.split("|")] for layer in contract["layers"]]


def statement(room: str) -> str:
    """The sentence that stands in its docstring: the layer below it, and what is below that."""
    (level,) = (number for number, layer in enumerate(layers()) if room in layer)
    below = layers()[level + 1 :]
    if not below:
        return "May import: nothing of qdiag."
    return f"May import: {', '.join(below[0])}{' and below' if below[1:] else ''}."


def said(room: str) -> list[str]:
    folder = PACKAGE / room / "__init__.py"
    file = folder if folder.is_file() else PACKAGE / f"{room}.py"
    text = " ".join((ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split())
    return re.findall(r"May import: [^.]*\.", text)


ROOMS = [room for layer in layers() for room in layer]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_the_contract_says(room: str) -> None:
    is_folder = (PACKAGE / room).is_dir()
    assert said(room) in ([[statement(room)]] if is_folder else [[], [statement(room)]])


def test_every_room_is_in_the_contract() -> None:
    """And so says something that is checked."""
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} <= set(ROOMS)
