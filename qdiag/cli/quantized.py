"""The model in fixed point that a command works on: calibrated now, or as `qdiag calibrate --save` left it."""

from collections.abc import Mapping
from pathlib import Path

from qdiag.cli.options import FormatOptions, QuantizedOptions
from qdiag.cli.output import bar
from qdiag.errors import InputError, ModelError
from qdiag.planning.mac_budget import MacBudget
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.modules import QuantTestModule
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import Subject
from qdiag.weights import read_checkpoint


def quantized(subject: Subject, formats: FormatOptions, fit: QuantizedOptions) -> QuantizedModel:
    """Raises InputError, ModelError or OptionError."""
    if fit.load is None:
        return calibrated(subject, formats, fit.method, fit.widths)
    wrapped = QuantTestModule(subject.model, subject.example, target=formats.target)
    _load(wrapped, fit.load)
    return wrapped.quantized


def calibrated(
    subject: Subject, formats: FormatOptions, method: str, bits: int | MacBudget, checkpoint: Path | None = None
) -> QuantizedModel:
    """On the images that ranges are to come from, or else on the first of the data."""
    return calibrate(
        subject.calibration,
        method=method,
        bits=bits,
        per_channel=formats.scales,
        target=formats.target,
        checkpoint=checkpoint,
        on_progress=bar(),
    )


def _load(wrapped: QuantTestModule, path: Path) -> None:
    state = read_checkpoint(path)
    if not isinstance(state, Mapping) or "_extra_state" not in state:
        raise InputError(
            f"{path} holds no calibration. Write one: qdiag calibrate … --save {path}", code="no-calibration-file"
        )
    try:
        wrapped.load_state_dict(state)
    except RuntimeError as error:  # torch's word for names and shapes that do not fit
        raise ModelError(f"{path} was saved from another model: {error}", code="other-model") from error
