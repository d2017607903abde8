"""What the simulation stores is what integer arithmetic computes: a network in NumPy, in 64-bit integers alone."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qdiag.planning.formats import PerChannelOption
from qdiag.planning.layer import Layer
from qdiag.quantization.interpreter_run import InterpreterRun
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.watchers import Watchers
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs
from tests.models import calibrate, settle

Ints = np.ndarray


class Net(nn.Module):
    """Convolutions of every kind, a sum, pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_bn, self.relu6 = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6()
        self.depthwise, self.depthwise_bn = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)
        self.point, self.point_bn = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8, affine=False)
        self.relu, self.pool, self.head = nn.ReLU(), nn.AvgPool2d(2), nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu6(self.stem_bn(self.stem(x)))
        y = self.relu(self.depthwise_bn(self.depthwise(x)))
        y = self.point_bn(self.point(y))
        x = self.relu(x + y)
        return self.head(self.pool(x).flatten(1))


@dataclass(frozen=True)
class Fixed:
    """Integers, each worth 2^exponent (one for each output channel where the weight has that)."""

    ints: Ints
    exponent: Ints


@pytest.mark.parametrize("per_channel", [None, "depthwise", "all"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 20.0])
def test_every_stored_tensor_is_that_of_integer_arithmetic(per_channel: PerChannelOption, scale: float) -> None:
    images = scale * torch.randn(6, 3, 16, 16)
    net = settle(Net(), images)
    with torch.no_grad():
        net.stem_bn.weight.mul_(6)  # type: ignore[union-attr,operator]  # so that ReLU6 has something to cut off
    quantized = calibrate(net, images[:4], per_channel=per_channel)
    stored: dict[str, Tensor] = {}

    def keep(layer: Layer, tensor: Tensor) -> None:
        stored[str(layer.site)] = tensor.clone()

    with borrow(net):
        InterpreterRun(quantized.watched(Watchers(stored=keep))).forward(Inputs(images))
    truth = Integers(quantized, per_channel)
    expected = truth.run(images)
    assert set(expected) == set(stored)
    for name, fixed in expected.items():
        assert len(np.unique(fixed.ints)) > 20, f"{name} is rich enough to tell"
        found = stored[name].double().numpy() / 2.0**fixed.exponent
        np.testing.assert_array_equal(found, fixed.ints, err_msg=name)


class Integers:
    """The same network without a single float: conv as im2col, bias in the accumulator, add half and shift right."""

    def __init__(self, quantized: QuantizedModel, per_channel: PerChannelOption) -> None:
        self.quantized, self.per_channel = quantized, per_channel
        self.net: Net = quantized.module  # type: ignore[assignment]

    def run(self, images: Tensor) -> dict[str, Fixed]:
        net, found = self.net, {}
        exponent, qmin, qmax = self.format(":input")
        x = Fixed(
            np.clip(np.floor(images.double().numpy() / 2.0**exponent + 0.5), qmin, qmax).astype(np.int64), exponent
        )
        found[":input"] = x
        x = found["stem"] = self.conv("stem", x, net.stem, net.stem_bn, high=6.0)
        y = found["depthwise"] = self.conv("depthwise", x, net.depthwise, net.depthwise_bn)
        y = found["point"] = self.conv("point", y, net.point, net.point_bn)
        x = found[":add"] = self.add(":add", x, y)
        x = found["pool"] = self.pool("pool", x)
        flat = Fixed(x.ints.reshape(len(x.ints), -1), x.exponent)
        found["head"] = self.linear("head", flat, net.head)
        return found

    def format(self, name: str) -> tuple[Ints, int, int]:
        qparams = self.quantized.format(name)
        assert qparams is not None
        return np.array(qparams.exponent), qparams.qtype.qmin, qparams.qtype.qmax

    def store(self, name: str, x: Fixed, high: float = np.inf) -> Fixed:
        """From the accumulator's scale to the stored tensor's; shifts by channel along axis 1."""
        exponent, qmin, qmax = self.format(name)
        top = np.minimum(qmax, high / 2.0**exponent)
        shift = np.broadcast_to(exponent - x.exponent, x.ints.shape)
        half = np.where(shift > 0, 1 << np.maximum(shift - 1, 0), 0)
        shifted = np.where(shift > 0, (x.ints + half) >> np.maximum(shift, 0), x.ints << np.maximum(-shift, 0))
        return Fixed(np.clip(shifted, qmin, top).astype(np.int64), exponent)

    def weights(self, layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d | None) -> tuple[Ints, Ints]:
        """Merged weight and bias in double precision."""
        weight = layer.weight.detach().double().numpy()
        bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().numpy()
        if norm is None:
            return weight, bias
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gamma, beta = (norm.weight, norm.bias) if norm.affine else (torch.ones(8), torch.zeros(8))
        factor = gamma.detach().double().numpy() / np.sqrt(norm.running_var.double().numpy() + norm.eps)
        merged = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        return merged, (bias - norm.running_mean.double().numpy()) * factor + beta.detach().double().numpy()

    def quantized_weights(
        self, layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm2d | None, k_in: Ints
    ) -> tuple[Fixed, Ints]:
        """8-bit weights, and the bias at the accumulator's scale."""
        weight, bias = self.weights(layer, norm)
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels
        by_channel = self.per_channel == "all" or (self.per_channel == "depthwise" and depthwise)
        largest = np.abs(weight.reshape(len(weight), -1)).max(1)
        largest = largest if by_channel else np.full_like(largest, largest.max())
        exponent = np.ceil(np.log2(largest)).astype(np.int64) - 7
        steps = np.rint(weight / 2.0 ** exponent.reshape(-1, *[1] * (weight.ndim - 1)))
        return Fixed(np.clip(steps, -128, 127).astype(np.int64), exponent), np.rint(
            bias / 2.0 ** (k_in + exponent)
        ).astype(np.int64)

    def conv(self, name: str, x: Fixed, layer: nn.Conv2d, norm: nn.BatchNorm2d, high: float = np.inf) -> Fixed:
        weight, bias = self.quantized_weights(layer, norm, x.exponent)
        (stride, _), (pad, _), (size, _) = layer.stride, layer.padding, layer.kernel_size  # type: ignore[str-unpack]
        padded = np.pad(x.ints, ((0, 0), (0, 0), (int(pad), int(pad)), (int(pad), int(pad))))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
        grouped = windows.reshape(len(windows), layer.groups, -1, *windows.shape[2:])
        kernels = weight.ints.reshape(layer.groups, -1, *weight.ints.shape[1:])
        sums = np.einsum("ngchwij,gocij->ngohw", grouped, kernels).reshape(len(windows), -1, *windows.shape[2:4])
        channels = (1, -1, 1, 1)
        total = Fixed(sums + bias.reshape(channels), (x.exponent + weight.exponent).reshape(channels))
        return self.store(name, total, high)

    def linear(self, name: str, x: Fixed, layer: nn.Linear) -> Fixed:
        weight, bias = self.quantized_weights(layer, None, x.exponent)
        return self.store(name, Fixed(x.ints @ weight.ints.T + bias, x.exponent + weight.exponent))

    def add(self, name: str, a: Fixed, b: Fixed) -> Fixed:
        common = np.minimum(a.exponent, b.exponent)
        total = (a.ints << (a.exponent - common)) + (b.ints << (b.exponent - common))
        return self.store(name, Fixed(total, common))

    def pool(self, name: str, x: Fixed) -> Fixed:
        n, c, h, w = x.ints.shape
        total = x.ints.reshape(n, c, h // 2, 2, w // 2, 2).sum((3, 5))
        return self.store(name, Fixed(total, x.exponent - 2))  # a quarter of it
