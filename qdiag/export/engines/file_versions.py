"""Which ONNX files the versions of an engine read."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FileVersion:
    """What is written for an engine from one version on.

    Attributes:
        since: The engine's first version, major and minor.
        reader: What reads the file there.
        newest_opset: The highest that it reads.
        newest_ir: The highest IR version that it reads.
        opset: What is written: the one that the engine's documents name, or else the lowest that needs no conversion.
    """

    since: tuple[int, int]
    reader: str
    newest_opset: int
    newest_ir: int
    opset: int


def file_version(versions: Sequence[FileVersion], version: tuple[int, int]) -> FileVersion | None:
    """The entry that holds for a version of the engine; None where there is none.

    Args:
        versions: The oldest first.
        version: Major and minor.
    """
    return next((each for each in reversed(versions) if each.since <= version), None)
