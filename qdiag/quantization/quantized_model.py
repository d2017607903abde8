"""The user's model, run in fixed point."""

import warnings
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from qdiag.errors import QdiagWarning
from qdiag.numerics.qparams import QParams
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration
from qdiag.quantization.lane import Lane, LaneRunner
from qdiag.tracing.guest import borrow
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.site import Site


class QuantizedModel(nn.Module):
    """A model simulated in the plan's number formats, for inference: `qm(images)` gives what the target would.

    module: the user's own model, untouched, with its own `state_dict` keys. plan: formats by address.
    calibration: ranges of every stored tensor, and more. Both are saved with `state_dict()`, and come back with it.
    Weights that calibration left alone are quantized from the module's current ones at every forward, so that loading
    others into `module` takes effect.
    """

    def __init__(self, module: nn.Module, plan: QuantPlan, calibration: Calibration, *, channels_last: bool = False):
        super().__init__()
        self.module, self.plan, self.calibration, self.channels_last = module, plan, calibration, channels_last
        self._lane: Lane | None = None

    @property
    def lane(self) -> Lane:
        if self._lane is None:
            self._lane = Lane(self.module, self.plan, self.calibration, channels_last=self.channels_last)
        return self._lane

    def format(self, name: Site | str) -> QParams | None:
        """The number format of the tensor stored at an address; None where it stays in float."""
        return self.lane.qparams.get(self.plan.layer(name).site)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own result, in fixed point: always as in inference, whatever mode the module is in."""
        self.lane.unplanned.clear()
        with borrow(self.module):
            result = LaneRunner(self.lane).forward(layout(Inputs(*args, **kwargs), self.channels_last))
        if self.lane.unplanned:
            warnings.warn(unplanned_warning(self.lane.unplanned), QdiagWarning, stacklevel=2)
        return result

    def change(self, plan: QuantPlan | None = None, calibration: Calibration | None = None) -> "QuantizedModel":
        """The same module in other formats, or with another calibration."""
        return QuantizedModel(
            self.module, plan or self.plan, calibration or self.calibration, channels_last=self.channels_last
        )

    def get_extra_state(self) -> dict[str, Any]:
        return self.calibration.state() | {"formats": self.plan.state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.plan = self.plan.of_state(state["formats"])
        self.calibration = Calibration.of_state(state, [layer.site for layer in self.plan.layers])
        self._lane = None


def unplanned_warning(sites: Collection[Site]) -> str:
    """What to tell a user whose forward ran layers that no trace had seen."""
    names = ", ".join(sorted(map(str, sites))[:3])
    return (
        f"{len(sites)} operation(s) ran that did not run when the model was traced, and stay in float: {names}. "
        "The forward depends on its data; calibrate with images that take the same way."
    )


def layout(inputs: Inputs, channels_last: bool) -> Inputs:
    """The inputs with 4-D tensors in channels-last layout, or as they are."""
    if not channels_last:
        return inputs
    return inputs.map(lambda t: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t)
