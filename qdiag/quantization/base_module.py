"""What the modules that wrap a user's model share: it computes in fixed point, and saves what it knows."""

import functools
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from qdiag.contents import sealed
from qdiag.errors import InputError
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.widths import Bits
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.checks import check_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.saved_state import reading_state
from qdiag.subject import Subject


class QuantBaseModule(nn.Module):
    """A user's model that computes in fixed point; what it does in train mode, its finals say.

    `QuantTestModule`, `QuantCalibrateModule` and `QuantTrainModule` are these. Each loads what the others saved.

    Args:
        quantized: The model in its formats, with ranges or without.
    """

    how_to_get_ranges: ClassVar[str]
    """What a user does who has none yet."""
    _quantized: QuantizedModel

    def __init__(self, quantized: QuantizedModel):
        super().__init__()
        self.module = quantized.module
        self.hold(quantized)

    def hold(self, quantized: QuantizedModel) -> None:
        """Compute as this one from now on.

        Args:
            quantized: A version of the same model.
        """
        object.__setattr__(self, "_quantized", quantized)  # not a child: its module is this one's

    @property
    def quantized(self) -> QuantizedModel:
        """For `compare`, `export_onnx`, `verify` and all else, as it is by now; its module is this one's."""
        known = self._quantized
        if known.module is not self.module:  # DataParallel's replicas of this module share all but the tensors
            self.hold(QuantizedModel(self.module, known.plan, known.calibration, channels_last=known.channels_last))
        learned = self.learned(known.calibration)
        if learned is not None:
            self.hold(self._quantized.change(calibration=learned))
        return self._quantized

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        _stays_out_of_graphs()
        return super().__new__(cls)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own result: in eval mode in fixed point, as the target computes it.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes.

        Raises:
            InputError: In eval mode, where nothing was calibrated, learned or loaded.
        """
        return self.in_train_mode(*args, **kwargs) if self.training else self.in_fixed_point(*args, **kwargs)

    def in_fixed_point(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` does in eval mode.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes.
        """
        quantized = self.quantized
        if not quantized.calibration.ranges:
            raise InputError(
                f"this {type(self).__name__} has no ranges yet. {self.how_to_get_ranges}", code="no-ranges"
            )
        return quantized(*args, **kwargs)

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds beside the model's own tensors."""
        state, training = self.quantized.get_extra_state(), self.training_state()
        return state if training is None else sealed(state | {"training": training})

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_extra_state` gave.

        Args:
            state: Formats, calibration, and how far training has come.
        """
        self.quantized.set_extra_state(state)
        with reading_state():
            self.load_training_state(state.get("training", {}))

    # What the finals say ----------------------------------------------------------------------------------------------

    def in_train_mode(self, *args: Any, **kwargs: Any) -> Any:
        """What `forward` does in train mode.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes.
        """
        raise NotImplementedError

    def learned(self, known: Calibration) -> Calibration | None:
        """What was found out since; None for nothing.

        Args:
            known: What was known before.
        """
        return None

    def training_state(self) -> dict[str, Any] | None:
        """What goes on with a training, for `state_dict`; None for what does not train."""
        return None

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Take up what `training_state` gave; all else is up to date.

        Args:
            state: Empty where what was saved did not train.
        """


@functools.cache
def _stays_out_of_graphs() -> None:
    """`torch.compile` leaves the forward as it is: operations inside a compiled graph have no addresses.

    Said when the first module is made, since torch loads its compiler for it, which takes a second.
    """
    QuantBaseModule.forward = torch.compiler.disable(QuantBaseModule.forward)  # type: ignore[method-assign]


def without_ranges(
    model: nn.Module, data: Any, bits: Bits, per_channel: PerChannelOption, target: str
) -> QuantizedModel:
    """The model with its formats planned, and nothing known of ranges.

    Raises InputError, ModelError or OptionError.
    """
    check_model(model)
    subject = Subject.of(model, data if isinstance(data, Subject | DataLoader | Dataset) else [data])
    plan = subject.plan(bits, per_channel, target)
    return QuantizedModel(model, plan, Calibration({}), channels_last=subject.prefers_channels_last)
