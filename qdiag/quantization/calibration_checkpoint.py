"""A calibration under way, in a file: what was stopped or killed goes on from there."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qdiag.errors import OptionError, QdiagWarning
from qdiag.files import written_whole
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.identity import data_digest, digest, model_digest


class CalibrationCheckpoint:
    """Written after every technique, all or nothing: a kill at any moment leaves the last one whole.

    path: the file. It goes with one model, formats, techniques and first batch of data; another run's file is refused.
    """

    def __init__(
        self, path: str | os.PathLike[str], model: nn.Module, plan: QuantPlan, techniques: Sequence[str], data: Any
    ):
        self.path = Path(path)
        self.sites = [layer.site for layer in plan.layers]
        self.identity = {
            "model": model_digest(model),
            "formats": digest([(str(layer.site), layer.output, layer.weight) for layer in plan.layers]),
            "techniques": ", ".join(techniques),
            "data": data_digest(data, model),
        }

    def load(self) -> Calibration | None:
        """What was reached; None where there is no file yet. Raises OptionError for a file of another run."""
        if not self.path.exists():
            return None
        try:
            found = torch.load(self.path, weights_only=True)
            identity, state = found["identity"], found["calibration"]
        except Exception as error:  # torch, pickle and zip have errors of their own for a file of another kind
            raise OptionError(
                f"{self.path} is no checkpoint of a calibration. Give another file, or delete it."
            ) from error
        differing = [name for name, value in self.identity.items() if identity.get(name) != value]
        if differing:
            raise OptionError(
                f"{self.path} is the checkpoint of another calibration: other {' and '.join(differing)}. "
                "Give another file, or delete it to begin anew."
            )
        return Calibration.of_state(state, self.sites)

    def save(self, calibration: Calibration) -> None:
        """Warns where it cannot be written; the run goes on, and the checkpoint before stays."""
        try:
            with written_whole(self.path) as draft:
                torch.save({"identity": self.identity, "calibration": calibration.state()}, draft)
        except (OSError, RuntimeError) as error:  # torch's writer gives a full disk as a RuntimeError
            warnings.warn(f"no checkpoint was written to {self.path}: {error}", QdiagWarning, stacklevel=2)
