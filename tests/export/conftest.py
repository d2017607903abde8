"""The oldest ONNX Runtime that this Python can have, in an environment of its own beside pytest's cache."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock

OLDEST = {(3, 11): "1.15.1", (3, 12): "1.17.3", (3, 13): "1.20.1"}
"""The oldest with a wheel for each Python. TIDL's tools ship 1.14 and 1.15; 1.14 has none for any of these."""


@pytest.fixture(scope="session")
def old_runtime(pytestconfig: pytest.Config) -> Path:
    """A Python with an old onnxruntime; made once, for all later runs of the tests."""
    version = OLDEST.get(sys.version_info[:2])
    if version is None:
        pytest.skip("no old onnxruntime is known for this Python")
    folder = Path(pytestconfig.cache.mkdir(f"onnxruntime-{version}"))
    python, made = folder / "bin" / "python", folder / "made"
    with FileLock(folder.with_suffix(".lock")):  # tests of another process may make it at the same time
        if not made.exists():
            try:
                venv.create(folder, clear=True, symlinks=True)
                _install(python, f"onnxruntime=={version}", "numpy<2")
            except (OSError, subprocess.CalledProcessError) as error:
                if os.environ.get("CI"):
                    raise
                pytest.skip(f"cannot make an environment with onnxruntime {version}: {getattr(error, 'stderr', error)}")
            made.touch()
    return python


def _install(python: Path, *packages: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *packages]
    subprocess.run(command, capture_output=True, text=True, check=True)
