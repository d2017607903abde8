"""What has to be said before any word on number formats."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """What makes every figure below worthless. kind: as the verdict's."""

    kind: str
    headline: str
    text: str
