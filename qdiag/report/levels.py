"""How grave a thing is: a word, a symbol and a colour each, so that no meaning hangs on colour alone."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note", "ok"]


@dataclass(frozen=True)
class LevelStyle:
    """symbol: one cell wide in a terminal. terminal: a rich style, in the colours that its user reads well there.

    The colours of a page are in colours.py.
    """

    symbol: str
    terminal: str


LEVELS: dict[Level, LevelStyle] = {
    "error": LevelStyle("✖", "bold red"),
    "warning": LevelStyle("▲", "yellow"),
    "note": LevelStyle("●", "cyan"),
    "ok": LevelStyle("✔", "green"),
}
