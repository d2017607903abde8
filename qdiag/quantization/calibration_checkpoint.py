"""A calibration under way, in a file: what was stopped or killed goes on from there."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from qdiag.errors import OptionError
from qdiag.files import warned
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.identity import data_digest, digest, model_digest
from qdiag.quantization.saved_state import reading_state
from qdiag.tensor_files import read_tensors, write_tensors
from qdiag.tracing.batches import Batches


class CalibrationCheckpoint:
    """Written after every technique, all or nothing: a kill at any moment leaves the last one whole.

    path: the file. It goes with one model, formats, techniques and first batch of data; another run's file is refused.
    """

    def __init__(
        self, path: str | os.PathLike[str], model: nn.Module, plan: QuantPlan, techniques: Sequence[str], data: Batches
    ):
        self.path = Path(path)
        self.sites = [layer.site for layer in plan.layers]
        self.identity = {
            "model": model_digest(model),
            "formats": digest([(str(layer.site), layer.output, layer.weight) for layer in plan.layers]),
            "techniques": ", ".join(techniques),
            "data": data_digest(data),
        }

    def load(self) -> Calibration | None:
        """What was reached; None where there is no file yet. Raises OptionError for a file of another run."""
        if not self.path.exists():
            return None
        found = read_tensors(self.path, "checkpoint of a calibration", ("identity", "calibration"))
        differing = [name for name, value in self.identity.items() if found["identity"].get(name) != value]
        if differing:
            raise OptionError(
                f"{self.path} is the checkpoint of another calibration: other {' and '.join(differing)}. "
                "Give another file, or delete it to begin anew.",
                code="other-run",
            )
        with reading_state():
            return Calibration.of_state(found["calibration"], self.sites)

    def save(self, calibration: Calibration) -> None:
        """Warns where it cannot be written; the run goes on, and the checkpoint before stays."""
        contents = {"identity": self.identity, "calibration": calibration.state()}
        with warned():
            write_tensors(self.path, contents, "Make room, or give another file.")
