"""Each layer of the simulation computed from what the device computed it from."""

from collections.abc import Callable
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from qdiag.export.dumps.dump import Array
from qdiag.numerics.fake_quantize import integer_bounds
from qdiag.numerics.layer_output import LayerOutput
from qdiag.planning.layer import Layer
from qdiag.quantization.formats import Formats
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.tracing.site import Site

StoredSteps = Callable[[Layer, tuple[int, ...]], Array | None]
"""Gives what the device stored of a layer, of this shape, in steps of its format; None where that is not known."""
Judge = Callable[[Layer, LayerOutput, Tensor], None]
"""Called with a layer, with what came out of it beside the device's, and with the integers of the simulation."""


@final
class DeviceNumerics(Numerics):
    """The simulation's numbers, and the device's tensor in place of each that is known, for the layers after it.

    So an error of one layer shows at that layer alone. Where a tensor is not known the simulation's goes on.
    """

    def __init__(self, simulated: Numerics, formats: Formats, steps_of: StoredSteps, judge: Judge):
        self.simulated, self.formats, self.steps_of, self.judge = simulated, formats, steps_of, judge
        self.biases: dict[Site, Tensor | None] = {}

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        operands = self.simulated.weight(layer, own)
        self.biases[layer.site] = operands.bias
        return operands

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        exact = result.clone()
        expected = self.simulated.stored(layer, result)
        steps = self.steps_of(layer, tuple(expected.shape)) if expected.numel() else None
        if steps is None:
            return expected
        device, scale = torch.from_numpy(steps), self.formats.qparams[layer.site].tensor_scale
        factor = self.formats.factor(layer, expected)
        in_steps = scale / (torch.ones(()) if factor is None else factor).to("cpu", torch.float64)
        output = self._output(layer, _exactly(exact) / in_steps, device.round())
        self.judge(layer, output, (_exactly(expected) / in_steps).round())
        return (device * in_steps).to(expected)

    def _output(self, layer: Layer, exact: Tensor, found: Tensor) -> LayerOutput:
        qparams = self.formats.qparams[layer.site]
        low, high = integer_bounds(qparams, layer.bounds)
        axis = -1 if layer.site.op == "linear" else 1
        output = LayerOutput(exact, found, low, high, qparams.qtype, axis=axis)
        bias = self.biases.get(layer.site)
        if bias is None:
            return output
        steps = _exactly(bias * self.formats.weight(layer).bias_factor(bias)) / qparams.tensor_scale
        return replace(output, bias=output.along_channels(steps))


def _exactly(values: Tensor) -> Tensor:
    """In float64, which not every device of torch has."""
    return values.detach().to("cpu", torch.float64)
