"""The oldest ONNX Runtime that this Python can have, in an environment of its own beside pytest's cache."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

OLDEST = {(3, 11): "1.15.1", (3, 12): "1.17.3", (3, 13): "1.20.1"}
"""The oldest with a wheel for each Python. TIDL's tools ship 1.14 and 1.15; 1.14 has none for any of these."""


@pytest.fixture(scope="session")
def old_runtime(pytestconfig: pytest.Config) -> Path:
    """A Python with an old onnxruntime; made once, for all later runs of the tests."""
    version = OLDEST[sys.version_info[:2]]
    folder = Path(pytestconfig.cache.mkdir(f"onnxruntime-{version}"))
    python, made = folder / "bin" / "python", folder / "made"
    if not made.exists():
        venv.create(folder, clear=True, symlinks=True)
        _install(python, f"onnxruntime=={version}", "numpy<2")
        made.touch()
    return python


def _install(python: Path, *packages: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = f"cannot install {packages[0]}: {done.stderr.strip()[-300:]}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
