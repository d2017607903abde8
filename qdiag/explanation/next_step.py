"""What to do next."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NextStep:
    """What to do next. title: the deed; text: why, with the number it brought where it was tried; code: to paste."""

    title: str
    text: str
    code: str = ""
