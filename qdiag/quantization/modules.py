"""Calibration in the shape that users of TI's tools know: wrap, show images in train mode, go to eval mode."""

from typing import Any

from torch import nn

from qdiag.errors import OptionError
from qdiag.planning.formats import PerChannelOption
from qdiag.planning.mac_budget import MacBudget
from qdiag.planning.widths import Bits
from qdiag.quantization.base_module import QuantBaseModule, without_ranges
from qdiag.quantization.calibrate import DEFAULT_METHOD, calibrate, first_bits
from qdiag.quantization.methods.method import METHODS
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.subject import CALIBRATION_IMAGES
from qdiag.tracing.forward import forward
from qdiag.tracing.inputs import Inputs


class QuantTestModule(QuantBaseModule):
    """A model in fixed point, for inference with what calibration or training saved.

        quantized = QuantTestModule(model, data)
        quantized.load_state_dict(torch.load("calibrated.pt"))
        quantized.eval()(images)

    Its `module` is the user's own model, untouched, with its own `state_dict` keys.

    Args:
        model: In float.
        data: What the model is called with, or a batch of it; or a DataLoader, Dataset or `Subject`, whose first batch
            counts.
        bits: As for `calibrate`; what is loaded brings its own.
        per_channel: As for `calibrate`; what is loaded brings its own.
        target: As for `calibrate`; what is loaded brings its own.

    Raises:
        InputError: For an input that cannot be used.
        ModelError: For a model that cannot be traced or planned.
        OptionError: For options that are not on offer.

    >>> import torch
    >>> from qdiag.quantization.calibrate import calibrate
    >>> net, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()).eval(), torch.rand(16, 3, 6, 6)
    >>> calibrated = calibrate(net, images, "simple")
    >>> loaded = QuantTestModule(net, images)
    >>> loaded.load_state_dict(calibrated.state_dict())
    <All keys matched successfully>
    >>> torch.equal(loaded.eval()(images), calibrated(images))
    True
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        bits: Bits = 8,
        per_channel: PerChannelOption = None,
        *,
        target: str = "tidl",
    ):
        super().__init__(without_ranges(model, data, bits, per_channel, target))

    how_to_get_ranges = "Load what was saved from a calibrated model: load_state_dict(torch.load(file))."

    def in_train_mode(self, *args: Any, **kwargs: Any) -> Any:
        """The same as in eval mode.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes.
        """
        return self.in_fixed_point(*args, **kwargs)


def quantized_model(quantized: Any) -> QuantizedModel:
    """What `calibrate` gave, or what a module that wraps such a model holds. Raises OptionError for anything else."""
    if isinstance(quantized, QuantBaseModule):
        return quantized.quantized
    if not isinstance(quantized, QuantizedModel):
        raise OptionError(
            f"this takes a model in fixed point, and not a {type(quantized).__name__}. Calibrate it first: "
            "calibrate(model, images).",
            code="not-a-model",
        )
    return quantized


class QuantCalibrateModule(QuantBaseModule):
    """A model that calibrates itself on the images it is shown in train mode.

        quantized = QuantCalibrateModule(model, data)
        quantized.train()
        for images, _ in loader:
            quantized(images)          # computes in float, and remembers the images
        quantized.eval()               # calibrates, with a progress bar
        quantized(images)              # in fixed point

    Args:
        model: In float.
        data: What the model is called with, or a batch of it; or a DataLoader, Dataset or `Subject`, whose first batch
            counts.
        bits: As for `calibrate`.
        per_channel: As for `calibrate`.
        method: As for `calibrate`.
        target: As for `calibrate`.
        max_images: Images beyond these are not remembered; they are kept in memory.

    Raises:
        InputError: For an input that cannot be used.
        ModelError: For a model that cannot be traced or planned.
        OptionError: For options that are not on offer.

    >>> import torch
    >>> net, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), torch.rand(16, 3, 6, 6)
    >>> quantized = QuantCalibrateModule(net, images, method="simple")
    >>> in_float = quantized.train()(images)
    >>> print(quantized.eval().quantized.format(":input"))
    uint8 · 2^-8
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        bits: Bits | MacBudget = 8,
        per_channel: PerChannelOption = None,
        *,
        method: str = DEFAULT_METHOD,
        target: str = "tidl",
        max_images: int = CALIBRATION_IMAGES,
    ):
        if max_images < 1:
            raise OptionError(f"max_images={max_images}: at least one image is needed.", code="at-least-one")
        channels = per_channel or METHODS[method].per_channel
        super().__init__(without_ranges(model, data, first_bits(bits), channels, target))
        self.bits, self.per_channel, self.method, self.target = bits, per_channel, method, target
        self.max_images = max_images
        self.shown: list[Inputs] = []

    how_to_get_ranges = "Show it images in train mode first: .train(), then call it, then .eval()."

    def in_train_mode(self, *args: Any, **kwargs: Any) -> Any:
        """The float result, on the way to calibration.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes.
        """
        inputs = Inputs(*args, **kwargs)
        if sum(one.batch_size for one in self.shown) < self.max_images:
            self.shown.append(inputs.map(lambda tensor: tensor.detach().clone()))
        was_training = self.module.training
        try:
            return forward(self.module.eval(), inputs)
        finally:
            self.module.train(was_training)

    def train(self, mode: bool = True) -> "QuantCalibrateModule":
        """As of any module, save that going to eval mode calibrates on the images shown since the last time.

        Args:
            mode: True for train mode.
        """
        super().train(mode)
        if not mode and self.shown:
            self.hold(calibrate(self.module, self.shown, self.method, self.bits, self.per_channel, target=self.target))
            self.shown = []
        return self
