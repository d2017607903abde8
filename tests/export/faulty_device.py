"""A device that computes one layer wrong, and rounds in its own way: the simulation with other arithmetic in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qdiag.export.integers import stored_integers
from qdiag.numerics.fake_quantize import integer_bounds
from qdiag.planning.layer import Layer
from qdiag.quantization.fixed_numerics import FixedNumerics
from qdiag.quantization.formats import Formats
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.numerics import Numerics, Operands, OwnWeights
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs

Round = Callable[[Tensor], Tensor]

ROUNDS: dict[str, Round] = {
    "half up": lambda x: torch.floor(x + 0.5),
    "half to even": torch.round,
    "half away from zero": lambda x: torch.where(x < 0, -torch.floor(0.5 - x), torch.floor(x + 0.5)),
    "down": torch.floor,
}


@dataclass(frozen=True)
class Fault:
    """Of one layer. weights: of what it multiplies by. exact: of values in steps. codes: of integers."""

    weights: Callable[[Operands], Operands] = lambda operands: operands
    exact: Round = lambda x: x
    codes: Round = lambda x: x


def _swapped(operands: Operands) -> Operands:
    order = torch.arange(len(operands.weight))
    order[:2] = torch.tensor([1, 0])
    return replace(operands, weight=operands.weight[order])


def _other(operands: Operands) -> Operands:
    weight = operands.weight.clone()
    weight[0] = weight[0].flip(-1) * 0.5 + weight[-1] * 0.5
    return replace(operands, weight=weight)


def _turned(codes: Tensor) -> Tensor:
    return codes.permute(0, *range(2, codes.ndim), 1).reshape(codes.shape)


FAULTS: Mapping[str, Fault] = {
    "output shift": Fault(exact=lambda x: x / 2),
    "bias lost": Fault(weights=lambda operands: replace(operands, bias=torch.zeros_like(operands.bias))),  # type: ignore[arg-type]
    "channels": Fault(weights=_swapped),
    "layout": Fault(codes=_turned),
    "range": Fault(codes=lambda x: x.clamp(-31, 31)),
    "offset": Fault(exact=lambda x: x + 3.3),
    "scale": Fault(exact=lambda x: x * 1.3),
    "weights": Fault(weights=_other),
    "rounding": Fault(exact=torch.floor),
}


class DeviceArithmetic(Numerics):
    """Rounds as the device does, with a fault at one site."""

    def __init__(self, formats: Formats, site: str, fault: Fault, rounds: Round):
        self.fixed, self.formats = FixedNumerics(formats), formats
        self.site, self.fault, self.rounds = site, fault, rounds

    def fault_of(self, layer: Layer) -> Fault:
        return self.fault if str(layer.site) == self.site else Fault()

    def weight(self, layer: Layer, own: OwnWeights) -> Operands:
        return self.fault_of(layer).weights(self.fixed.weight(layer, own))

    def stored(self, layer: Layer, result: Tensor) -> Tensor:
        qparams, fault = self.formats.qparams[layer.site], self.fault_of(layer)
        low, high = integer_bounds(qparams, layer.bounds)
        codes = self.rounds(fault.exact(result.double() / qparams.tensor_scale)).clamp(low, high)
        return (fault.codes(codes) * qparams.tensor_scale).to(result.dtype)


def run_device(
    quantized: QuantizedModel, images: Tensor, folder: Path, site: str = "", fault: str = "", rounds: str = "half up"
) -> None:
    """Write every stored tensor of a faulty device, as integers."""
    wrong = FAULTS[fault] if fault else Fault()
    device = quantized.change(numerics=lambda formats: DeviceArithmetic(formats, site, wrong, ROUNDS[rounds]))

    def keep(layer: Layer, stored: Tensor) -> None:
        if layer.site in device.formats.qparams:
            np.save(folder / f"{layer.site}.npy", stored_integers(device.formats, layer, stored).numpy())

    with borrow(quantized.module):
        InterpreterRun(device.watched(Watchers(stored=keep))).forward(Inputs(images))


class Chain(nn.Sequential):
    """Four convolutions."""

    def __init__(self) -> None:
        super().__init__(*(m for i in range(4) for m in (nn.Conv2d(8 if i else 3, 8, 3), nn.ReLU())))


class Residual(nn.Module):
    """Two additions, no activation before them, and BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.one = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.two = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = (x + self.one(x)).relu()
        return self.head(x + self.two(x))


class Depthwise(nn.Module):
    """Inverted residual, average and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.ReLU6())
        self.point = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.point(self.depthwise(x)) + x
        return self.head(x.mean((2, 3)))


NETWORKS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "chain": (Chain, ("0", "2", "4", "6")),
    "residual": (Residual, ("stem", "one.0", "two.0", "head")),
    "depthwise": (Depthwise, ("stem.0", "depthwise.0", "point")),
}
"""Each with the layers that may be wrong."""
