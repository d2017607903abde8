"""What fixed point makes of a generated network: from its program and in integers, without a line of the library.

Doubles hold the integers: none of them comes near 2^53.
"""

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.planning.formats import PerChannelOption
from tests.stress.networks import EPS, Network, Program, Step, Unit

ACCUMULATOR = 2**31
STORING = ("conv", "linear", "add", "mul", "cat", "pool", "mean", "relu")
HIGH = {"": math.inf, "relu": math.inf, "relu6": 6.0}


@dataclass(frozen=True)
class Widths:
    """Bits of weights and of stored tensors, and which layers have a scale for each channel."""

    weights: int = 8
    tensors: int = 8
    per_channel: PerChannelOption = None


@dataclass(frozen=True)
class Fixed:
    """Integers, each worth 2^exponent."""

    ints: Tensor
    exponent: int

    @property
    def values(self) -> Tensor:
        return self.ints * 2.0**self.exponent


@dataclass(frozen=True)
class Format:
    """Of a stored tensor: integers from low to high, each worth 2^exponent."""

    exponent: int
    low: int
    high: int


def stored_tensors(
    network: Network, calibration: tuple[Tensor, ...], images: tuple[Tensor, ...], widths: Widths
) -> "Run":
    """Every tensor that is stored for the images, in the order of the forward, with formats that calibration gives."""
    return Run(network, _formats(network, calibration, widths), widths, images)


def merged_clamps(program: Program) -> dict[int, int]:
    """ReLUs that stand alone and are done as their operand is stored, since nothing else reads it: by its number."""
    first = len(program.inputs)
    readers = Counter(number for step in program.steps for number in step.reads)
    readers.update(program.outputs)
    found = {}
    for place, step in enumerate(program.steps):
        number = step.reads[0]
        source = program.steps[number - first] if number >= first else None
        is_stored = source is not None and source.op in STORING and not source.act and number not in found
        if step.op == "relu" and readers[number] == 1 and is_stored:
            found[first + place] = number
    return found


def _formats(network: Network, images: tuple[Tensor, ...], widths: Widths) -> dict[int, Format]:
    """By the number of each value: from its least and greatest on the images."""
    program, merged = network.program, merged_clamps(network.program)
    values = [image.double() for image in images]
    found = {number: _format(value, widths.tensors) for number, value in enumerate(values)}
    for step in program.steps:
        x = [values[number] for number in step.reads]
        values.append(_float(step, x, network))
        number = len(values) - 1
        if number in merged:
            found[merged[number]] = _format(values[-1], widths.tensors)
        elif step.op in STORING:
            found[number] = _format(values[-1], widths.tensors)
    return found


def _format(values: Tensor, bits: int) -> Format:
    """Unsigned where values below zero would round to zero anyway."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    end = math.ceil(math.log2(max(-low, high) or 1.0))
    if low < -(2.0 ** (end - bits - 1)):
        return Format(end - bits + 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return Format(end - bits, 0, 2**bits - 1)


def _float(step: Step, x: list[Tensor], network: Network) -> Tensor:
    if step.layer:
        weight, bias = _merged(network.units[step.layer])  # type: ignore[arg-type]
        result = _multiplied(step, network, x[0], weight) + bias.reshape(-1, *[1] * (2 if step.op == "conv" else 0))
    else:
        result = _moved(step, x)
    return result.clamp(0, HIGH[step.act]) if step.act else result


def _moved(step: Step, x: list[Tensor]) -> Tensor:
    if step.op in ("max", "up", "chunk", "relu", "cat"):
        return {
            "max": lambda: F.max_pool2d(x[0], 2),
            "up": lambda: x[0].repeat_interleave(2, 2).repeat_interleave(2, 3),
            "chunk": lambda: x[0][:, x[0].shape[1] // 2 :],
            "relu": lambda: x[0].clamp(min=0),
            "cat": lambda: torch.cat(x, 1),
        }[step.op]()
    return {
        "add": lambda: x[0] + x[-1],
        "mul": lambda: x[0] * x[-1],
        "pool": lambda: F.avg_pool2d(x[0], 2),
        "mean": lambda: x[0].mean((2, 3), keepdim=True),
    }[step.op]()


def _merged(unit: Unit) -> tuple[Tensor, Tensor]:
    """Weight and bias with BatchNorm in them, in doubles."""
    layer, norm = unit.layer, unit.norm
    assert isinstance(layer, nn.Conv2d | nn.Linear)
    weight = layer.weight.detach().double()
    bias = torch.zeros(len(weight)).double() if layer.bias is None else layer.bias.detach().double()
    if not isinstance(norm, nn.BatchNorm2d):
        return weight, bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight.detach().double() / (norm.running_var.double() + EPS).sqrt()
    return weight * factor.reshape(-1, 1, 1, 1), (bias - norm.running_mean) * factor + norm.bias.detach()


def _multiplied(step: Step, network: Network, x: Tensor, weight: Tensor) -> Tensor:
    if step.op == "linear":
        return x.flatten(1) @ weight.T
    layer = network.units[step.layer].layer
    assert isinstance(layer, nn.Conv2d)
    return F.conv2d(x, weight, None, layer.stride, layer.padding, 1, layer.groups)


class Run:
    """The images through it. stored: what is stored, in the order of the forward. outputs: what it returns."""

    def __init__(
        self, network: Network, formats: dict[int, Format], widths: Widths, images: tuple[Tensor, ...]
    ) -> None:
        self.network, self.formats, self.widths = network, formats, widths
        program = network.program
        self.merged = merged_clamps(program)
        self.values: list[Fixed] = []
        self.stored: list[Fixed] = []
        for number, image in enumerate(images):
            self.values.append(self.store(number, image.double(), 0))
        for step in program.steps:
            self.values.append(self.step(step, [self.values[number] for number in step.reads]))
        self.outputs = [self.values[number] for number in program.outputs]

    def step(self, step: Step, x: list[Fixed]) -> Fixed:
        number = len(self.values)
        if number in self.merged:
            return x[0]
        taken = number in self.merged.values()
        low, high = (0.0, HIGH[step.act]) if step.act or taken else (-math.inf, math.inf)
        if step.layer:
            return self.weighted(step, x[0], low, high)
        if step.op in ("max", "up", "chunk"):
            return Fixed(_moved(step, [x[0].ints]), x[0].exponent)
        if step.op == "mul":
            return self.store(number, x[0].ints * x[1].ints, x[0].exponent + x[1].exponent, low, high)
        common = min(one.exponent for one in x)
        ints = [one.ints * 2 ** (one.exponent - common) for one in x]
        return self.store(number, _moved(step, ints), common, low, high)

    def weighted(self, step: Step, x: Fixed, low: float, high: float) -> Fixed:
        weight, bias = _merged(self.network.units[step.layer])  # type: ignore[arg-type]
        exponents = self.weight_exponents(step, weight)
        scale = 2.0 ** exponents.reshape(-1, *[1] * (weight.ndim - 1))
        top = 2 ** (self.widths.weights - 1)
        ints = (weight / scale).round().clamp(-top, top - 1)
        added = (bias / 2.0 ** (x.exponent + exponents)).round().clamp(-ACCUMULATOR, ACCUMULATOR - 1)
        shape = (-1, *[1] * (2 if step.op == "conv" else 0))
        total = _multiplied(step, self.network, x.ints, ints) + added.reshape(shape)
        return self.store(len(self.values), total * 2.0 ** exponents.reshape(shape), x.exponent, low, high)

    def weight_exponents(self, step: Step, weight: Tensor) -> Tensor:
        layer = self.network.units[step.layer].layer
        is_depthwise = isinstance(layer, nn.Conv2d) and layer.groups > 1
        largest = weight.abs().flatten(1).amax(1)
        if not (self.widths.per_channel == "all" or (self.widths.per_channel == "depthwise" and is_depthwise)):
            largest = largest.amax().expand(len(weight))
        smallest = 2.0**-16  # a range is never below
        return torch.log2(largest.clamp(min=smallest)).ceil() - (self.widths.weights - 1)

    def store(self, number: int, ints: Tensor, exponent: int, low: float = -math.inf, high: float = math.inf) -> Fixed:
        """From a sum's scale to the stored tensor's: half is added, and then cut off."""
        own = self.formats[number]
        steps = torch.floor(ints * 2.0 ** (exponent - own.exponent) + 0.5)
        bottom = own.low if low == -math.inf else max(own.low, low)
        top = own.high if high == math.inf else min(own.high, math.floor(high / 2.0**own.exponent + 0.5))
        self.stored.append(Fixed(steps.clamp(bottom, top), own.exponent))
        return self.stored[-1]
