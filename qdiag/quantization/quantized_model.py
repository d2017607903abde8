"""The user's model, run in fixed point."""

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qdiag.contents import sealed
from qdiag.errors import QdiagWarning
from qdiag.numerics.qparams import QParams
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration, LayerWeights
from qdiag.quantization.finite_guard import all_finite
from qdiag.quantization.fixed_numerics import FixedNumerics
from qdiag.quantization.formats import Formats
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.numerics import Numerics
from qdiag.quantization.saved_state import check_seal, reading_state
from qdiag.quantization.watchers import Watchers
from qdiag.quantization.weight_source import WeightSource
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.site import Site

NewNumerics = Callable[[Formats], Numerics]
"""Makes the numerics of given formats: the class itself where that is all it needs."""


class QuantizedModel(nn.Module):
    """A model simulated in the plan's number formats, for inference: `quantized(images)` gives what the target would.

    `calibrate` makes it. Weights that calibration left alone are quantized from the module's current ones at every
    forward, so that loading others into `module` takes effect.

    Args:
        module: The user's own model, untouched, with its own `state_dict` keys.
        plan: Formats by address; saved with `state_dict()`.
        calibration: Ranges of every stored tensor, and more; saved with `state_dict()`.
        channels_last: True where the model runs in this layout.
        numerics: What becomes of numbers in these formats, the target's rounding if not given; see `Numerics`.
    """

    def __init__(
        self,
        module: nn.Module,
        plan: QuantPlan,
        calibration: Calibration,
        *,
        channels_last: bool = False,
        numerics: NewNumerics = FixedNumerics,
    ):
        super().__init__()
        self.module, self.plan, self.calibration, self.channels_last = module, plan, calibration, channels_last
        self.numerics = numerics
        self._formats: Formats | None = None
        self._interpreter: Interpreter | None = None

    @property
    def formats(self) -> Formats:
        """The formats of all stored tensors and weights."""
        if self._formats is None:
            self._formats = Formats(self.plan, self.calibration)
        return self._formats

    @property
    def interpreter(self) -> Interpreter:
        """What carries out the forward; it keeps prepared weights from one to the next."""
        if self._interpreter is None:
            self._interpreter = self.watched(Watchers())
        return self._interpreter

    def watched(self, watchers: Watchers, given: Mapping[Site, LayerWeights] | None = None) -> Interpreter:
        """Another interpreter of the same version, which shows what it computes.

        Args:
            watchers: Called with what it computes.
            given: In place of the weights that calibration found; read anew at each forward.
        """
        return Interpreter(
            self.module,
            self.formats.plan,
            self.numerics(self.formats),
            given=self.calibration.weights if given is None else given,
            watchers=watchers,
            channels_last=self.channels_last,
            stays_finite=True,
        )

    def in_float(
        self, watchers: Watchers | None = None, given: Mapping[Site, LayerWeights] | None = None
    ) -> Interpreter:
        """The float network with the same layers, what the others are compared with.

        Args:
            watchers: Called with what it computes.
            given: Weights in place of the module's own.
        """
        return Interpreter.in_float(
            self.module, self.plan, given=given, watchers=watchers, channels_last=self.channels_last
        )

    def weights(self, layer: Layer) -> LayerWeights | None:
        """A layer's weight and bias before rounding; None where the model computes them in its forward.

        Args:
            layer: Of the plan.
        """
        return WeightSource(self.module, self.plan, self.calibration.weights).layer_weights(layer)

    def format(self, name: Site | str) -> QParams | None:
        """The number format of the tensor stored at an address; None where it stays in float.

        Args:
            name: An address, as `layer1.0.conv2`.
        """
        return self.formats.qparams.get(self.plan.layer(name).site)

    def weight_clip_exponents(self) -> dict[Site, Tensor]:
        """log2 of the ends of weights' formats, as they are now; not of weights computed in the forward."""
        facts = {layer.site: self.interpreter.facts(layer) for layer in self.plan.layers}
        return {
            site: torch.as_tensor(found.qparams.clip_exponent)
            for site, found in facts.items()
            if found is not None and found.qparams is not None
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own result, in fixed point: always as in inference, whatever mode the module is in.

        Args:
            *args: What the model takes.
            **kwargs: What the model takes.
        """
        self.interpreter.unplanned.clear()
        with borrow(self.module):
            result = InterpreterRun(self.interpreter).forward(Inputs(*args, **kwargs).in_layout(self.channels_last))
        finite = self.interpreter.finite
        if finite is not None and finite.arisen is not None and not all_finite(result):
            warnings.warn(finite.text("the result holds it"), QdiagWarning, stacklevel=2)
        if self.interpreter.unplanned:
            warnings.warn(unplanned_warning(self.interpreter.unplanned), QdiagWarning, stacklevel=2)
        return result

    def change(
        self,
        plan: QuantPlan | None = None,
        calibration: Calibration | None = None,
        *,
        numerics: NewNumerics | None = None,
    ) -> "QuantizedModel":
        """The same module in other formats, with another calibration, or in other numbers; what is None stays.

        Args:
            plan: Formats by address.
            calibration: Ranges and all else that was found.
            numerics: Makes the numerics of given formats; a class of `Numerics`, mostly.
        """
        return QuantizedModel(
            self.module,
            plan or self.plan,
            calibration or self.calibration,
            channels_last=self.channels_last,
            numerics=numerics or self.numerics,
        )

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds beside the model's own tensors."""
        return sealed(self.calibration.state() | {"formats": self.plan.state()})

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_extra_state` gave.

        Args:
            state: Formats and calibration.

        Raises:
            InputError: Where it is damaged, or was changed.
            ModelError: For another model's.
        """
        check_seal(state)
        with reading_state():
            plan = self.plan.of_state(state["formats"])
            calibration = Calibration.of_state(state, [layer.site for layer in plan.layers])
        self.plan, self.calibration = plan, calibration
        self._formats = self._interpreter = None


def unplanned_warning(sites: Collection[Site]) -> str:
    """What to tell a user whose forward ran layers that no trace had seen."""
    names = ", ".join(sorted(map(str, sites))[:3])
    return (
        f"{len(sites)} operation(s) ran that did not run when the model was traced, and stay in float: {names}. "
        "The forward depends on its data; calibrate with images that take the same way."
    )
