"""The number formats that a plan and a calibration come to."""

from typing import final

from torch import Tensor

from qdiag.numerics.qparams import QParams, activation_qparams
from qdiag.numerics.ready_weight import WeightFormat
from qdiag.numerics.shifts import channel_factor
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.quantization.calibration import Calibration
from qdiag.tracing.site import Site


@final
class Formats:
    """The format of every stored tensor and weight, and what channels are multiplied by.

    plan: with formats for those stored tensors alone whose range is known. qparams: their formats.
    """

    def __init__(self, plan: QuantPlan, calibration: Calibration):
        stored = [layer.site for layer in plan.layers if layer.output is not None]
        unknown = [site for site in stored if site not in calibration.ranges]
        self.plan = plan.change(output=dict.fromkeys(unknown)) if unknown else plan
        self.calibration = calibration
        self.qparams: dict[Site, QParams] = {
            layer.site: activation_qparams(layer.output, calibration.ranges[layer.site])
            for layer in self.plan.layers
            if layer.output is not None
        }

    def factor(self, layer: Layer, like: Tensor) -> Tensor | None:
        """What the target multiplies each channel of a stored tensor by, to broadcast against it; None for nothing."""
        shift = self.calibration.shifts.get(layer.site)
        return None if shift is None else channel_factor(shift, like)

    def weight(self, layer: Layer) -> WeightFormat:
        """How a weighted layer's weight and bias are held."""
        shifts, source = self.calibration.shifts, layer.sources[0] if layer.sources else None
        return WeightFormat(
            scheme=layer.weight,
            clip_exponent=self._kept_clip_exponent(layer),
            input=None if source is None else self.qparams.get(source),
            accumulator_bits=layer.accumulator_bits,
            written=shifts.get(layer.site),
            read=None if source is None else shifts.get(source),
            groups=layer.groups,
        )

    def _kept_clip_exponent(self, layer: Layer) -> Tensor | None:
        """The end of a weight's format that calibration keeps, if it is for one scale or many as the layer's is."""
        kept = self.calibration.weight_clip_exponents.get(layer.site)
        by_channel = layer.weight is not None and layer.weight.axis is not None
        return kept if kept is not None and bool(kept.ndim) == by_channel else None
