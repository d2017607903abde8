"""What the export needs beside qdiag."""

import importlib.util

from qdiag.errors import OptionError


def check_installed(*packages: str) -> None:
    """Raises OptionError for the first package that is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise OptionError(
                f"{package} is not installed, which the export needs: pip install 'qdiag[onnx]'.", code="not-installed"
            )
