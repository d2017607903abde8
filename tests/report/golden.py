"""Golden files: what a face looked like when somebody last read it."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
REWRITE = "QDIAG_REWRITE_GOLDEN"


def assert_golden(name: str, text: str) -> None:
    """The text is the file's. With QDIAG_REWRITE_GOLDEN=1 the file is written instead: read its diff."""
    path = FOLDER / name
    if os.environ.get(REWRITE):
        path.write_text(text + "\n", encoding="utf-8")
    golden = path.read_text(encoding="utf-8").removesuffix("\n")
    assert text == golden, f"{name} has changed. If it should, run again with {REWRITE}=1 and read the diff."
