"""The zoo: small models that each show one construct, with what qdiag is to make of it.

`ZOO` holds them by name. Each is built with fixed weights and BatchNorm statistics of its own inputs, so that it
quantizes well: what goes wrong with one of them is qdiag's doing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torchvision.ops import FrozenBatchNorm2d

from qdiag.planning.formats import PerChannelOption
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.planning.widths import Bits
from qdiag.quantization.calibrate import calibrate as calibrate_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.tracer import trace


def calibrate(
    model: nn.Module, data: Any, bits: Bits = 8, per_channel: PerChannelOption = None, **options: Any
) -> QuantizedModel:
    """Ranges by minimum and maximum: what tests of formats, lanes and comparison start from."""
    return calibrate_model(model, data, bits=bits, per_channel=per_channel, **{"method": "simple"} | options)


Shape = tuple[int, ...]
IMAGE: Shape = (4, 3, 12, 12)


@dataclass(frozen=True)
class Specimen:
    """A construct.

    build: the model, not yet settled. layers: what is stored, as the addresses of the operations it comes from, joined
    by " + ". shapes: of the inputs. floating: addresses of what stays in float. is_eval: as handed to qdiag.
    """

    build: Callable[[], nn.Module]
    layers: tuple[str, ...]
    shapes: tuple[Shape, ...] = (IMAGE,)
    floating: tuple[str, ...] = ()
    is_eval: bool = True

    def model(self) -> nn.Module:
        """With the same weights each time."""
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = self.build()
            return settle(model, *self.inputs(seed=1)).train(not self.is_eval)

    def inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(shape, generator=generator) for shape in self.shapes)


def settle(model: nn.Module, *inputs: Tensor) -> nn.Module:
    """BatchNorms get statistics of these inputs, and scales and shifts that are not one and zero; then eval mode."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.momentum = 1.0  # this batch's statistics alone
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        model.train()
        model(*inputs)
        for norm in norms:
            norm.momentum = 0.1
    return model.eval()


def layers_of(model: nn.Module, *inputs: Any) -> tuple[str, ...]:
    """The planned layers, in the form of `Specimen.layers`."""
    plan = plan_quantization(trace(model, Inputs(*inputs)))
    return tuple(" + ".join(map(str, layer.sites)) for layer in plan.layers)


class Small(nn.Module):
    """Conv-BN-ReLU, a residual block with a stride, pooling, a classifier: nothing out of the ordinary."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)) + x)
        return self.head(self.pool(x).flatten(1))


class Relu6OverSix(nn.Module):
    """The values before the ReLU6 go far over 6."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU6()
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(8 * self.bn(self.conv(x))))


class InplaceSum(nn.Module):
    """As torchvision's ResNet writes it: `out += identity`, then a ReLU in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(x))
        out += x
        return self.relu2(out)


class BatchNormAct(nn.BatchNorm2d):
    """BatchNorm with its activation inside, as timm's BatchNormAct2d."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        return self.act(self.drop(x))


class SameConv2d(nn.Conv2d):
    """A convolution with its own forward: padding as TensorFlow does it, by the input's size."""

    def forward(self, x: Tensor) -> Tensor:
        missing = [
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, stride, kernel in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        ]
        height, width = missing
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)


class ReusedRelu(nn.Module):
    """One ReLU at two scales, two hundred times apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) * 200)


class AttentionBlock(nn.Module):
    """As in a vision transformer: attention called with keyword arguments, and a tuple that it gives back."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        y, _ = self.attention(query=y, key=y, value=y, need_weights=False)
        return x + y


class ChannelsLastBlock(nn.Module):
    """A ConvNeXt block: depthwise convolution, LayerNorm over the last axis, linear layers, scale, sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.LayerNorm(8)
        self.wide, self.act, self.narrow = nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)
        self.scale = nn.Parameter(torch.full((8, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        y = self.narrow(self.act(self.wide(y))).permute(0, 3, 1, 2)
        return x + self.scale * y


class CompiledPart(nn.Module):
    """A submodule that is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.part = torch.compile(nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), backend="eager")

    def forward(self, x: Tensor) -> Tensor:
        return self.part(self.stem(x))


class Branching(nn.Module):
    """Which way it takes depends on the values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bright, self.dark = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x))
        return self.bright(y) if x.sum() > 0 else self.dark(y)


@dataclass
class Found:
    """A result as a dataclass."""

    logits: Tensor
    features: dict[str, Tensor]


class Pair(NamedTuple):
    """A result as a named tuple."""

    low: Tensor
    high: Tensor


class ManyOutputs(nn.Module):
    """Returns a tuple of a dict, a dataclass and a named tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Found, Pair]:
        x = F.relu(self.stem(x))
        left, right = self.left(x), self.right(x)
        return {"out": left}, Found(right, {"stem": x}), Pair(left.sigmoid(), right.sigmoid())


class PyramidHead(nn.Module):
    """One head over three levels, as detectors have it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        return [self.head(level) for level in (x, F.max_pool2d(x, 2), F.avg_pool2d(x, 4))]


class StandardizedConv2d(nn.Conv2d):
    """Weight standardization: the weight is computed from the parameter at every forward."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        deviation = self.weight.var((1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) * torch.rsqrt(deviation + 1e-6)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Halved(nn.Module):
    """A parametrization: half of the parameter."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def parametrized() -> nn.Module:
    first = parametrizations.weight_norm(nn.Conv2d(3, 8, 3, bias=False))
    second = nn.Conv2d(8, 8, 1)
    parametrize.register_parametrization(second, "weight", Halved())
    return nn.Sequential(first, nn.BatchNorm2d(8), nn.ReLU(), second)


def frozen_norm() -> nn.Module:
    norm = FrozenBatchNorm2d(8)
    norm.weight.uniform_(0.5, 1.5), norm.bias.uniform_(-0.5, 0.5)
    norm.running_mean.uniform_(-0.5, 0.5), norm.running_var.uniform_(0.5, 1.5)
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), norm, nn.ReLU(), nn.Conv2d(8, 4, 1))


class IntoBuffer(nn.Module):
    """Writes its features into slices of a tensor of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        canvas = x.new_zeros(x.shape[0], 8, *x.shape[2:])
        canvas[:, :4] = self.conv(x)
        canvas[:, 4:] = 1.0
        return self.head(canvas)


class Shuffle(nn.Module):
    """Splits channels, treats one half, and puts them together again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.stem(x).chunk(2, dim=1)
        first, second = left.split([1, 3], dim=1)
        x = torch.cat([second, first, F.relu(self.bn(self.conv(right)))], dim=1)
        return x.view(-1, 2, 4, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


class Gate(nn.Module):
    """Squeeze-and-excite."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn, self.squeeze = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1)
        self.narrow, self.wide = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.bn(self.stem(x)))
        return x * torch.sigmoid(self.wide(F.relu(self.narrow(self.squeeze(x)))))


class TwoInputs(nn.Module):
    """An image and its depth map, of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.color, self.depth = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(1, 8, 3, padding=1)

    def forward(self, image: Tensor, depth: Tensor) -> Tensor:
        depth = F.interpolate(self.depth(depth), scale_factor=2.0, mode="bilinear")
        return F.relu(self.color(image) - depth)


class SquaredGradient(torch.autograd.Function):
    """A function with its own backward, as memory-saving activations have it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.sigmoid() * (1 + x * (1 - x.sigmoid()))


class OwnFunction(nn.Module):
    """Calls an autograd.Function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(SquaredGradient.apply(self.bn(self.conv(x))))


class PlainAttribute(nn.Module):
    """A tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)
        self.offset = torch.linspace(-1, 1, 8).reshape(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x) + self.offset)


class HiddenModules(nn.Module):
    """Convolutions in a plain list, where torch does not see them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.hidden = [nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for module in self.hidden:
            x = module(x)
        return x


class TwoReaders(nn.Module):
    """A convolution whose result is read by a BatchNorm and by a sum, so that the two cannot become one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.bn(x) + x


class Upsampling(nn.Module):
    """A decoder's last step: transposed convolution, skip connection, nearest and bilinear resizing."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2)
        self.bn, self.head = nn.BatchNorm2d(6), nn.Conv2d(9, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.up(self.down(x))))
        y = self.head(torch.cat([F.interpolate(y, scale_factor=2), F.interpolate(x, scale_factor=2)], 1))
        return F.interpolate(y, scale_factor=0.5, mode="bilinear", align_corners=False)


def compiled() -> nn.Module:
    model: nn.Module = torch.compile(Small(), backend="eager")  # type: ignore[assignment]
    return model


def shared_twice() -> nn.Module:
    """The very same convolution and BatchNorm, one after the other, twice."""
    unit = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
    return nn.Sequential(unit, unit)


def timm_style() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct(8), nn.Conv2d(8, 4, 1))


ZOO: dict[str, Specimen] = {
    "plain network": Specimen(Small, (":input", "conv1 + bn1 + relu1", "conv2 + bn2", ":add + relu2", "pool", "head")),
    "ReLU6 over 6": Specimen(Relu6OverSix, (":input", "conv + bn", ":mul + act", "head")),
    "out += identity": Specimen(InplaceSum, (":input", "conv1 + bn1 + relu1", "conv2 + bn2", ":add + relu2")),
    "BatchNorm with activation inside": Specimen(timm_style, (":input", "0 + 1 + 1.act", "2")),
    "Conv2d with its own forward": Specimen(
        lambda: nn.Sequential(SameConv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()), (":input", "0 + 1 + 2")
    ),
    "Hardtanh": Specimen(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Hardtanh(-1, 1), nn.Conv2d(8, 4, 1)),
        (":input", "0 + 1 + 2", "3"),
    ),
    "reflecting padding": Specimen(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8)),
        (":input", "0 + 1"),
    ),
    "BatchNorm without affine": Specimen(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU()), (":input", "0 + 1 + 2")
    ),
    "Conv1d and BatchNorm1d": Specimen(
        lambda: nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.ReLU()), (":input", "0 + 1 + 2"), ((4, 3, 32),)
    ),
    "Conv3d and BatchNorm3d": Specimen(
        lambda: nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.ReLU()),
        (":input", "0 + 1 + 2"),
        ((2, 3, 5, 6, 6),),
    ),
    "Linear and BatchNorm1d": Specimen(
        lambda: nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU()), (":input", "0 + 1 + 2"), ((16, 12),)
    ),
    "one ReLU at two scales": Specimen(ReusedRelu, (":input", "conv1 + bn1 + relu", "conv2 + bn2", ":mul + relu#1")),
    "keyword arguments": Specimen(
        AttentionBlock,
        (":input", "norm", "attention:multi_head_attention_forward", ":add"),
        ((4, 9, 16),),
        floating=("attention:multi_head_attention_forward",),
    ),
    "channels-last LayerNorm": Specimen(
        ChannelsLastBlock, (":input", "conv", "norm", "wide", "act", "narrow", ":mul", ":add"), ((2, 8, 10, 10),)
    ),
    "grouped transposed convolution": Specimen(
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6), nn.ReLU()),
        (":input", "0 + 1 + 2"),
        ((4, 4, 6, 6),),
    ),
    "compiled model": Specimen(
        compiled,
        (
            ":input",
            *("_orig_mod.conv1 + _orig_mod.bn1 + _orig_mod.relu1", "_orig_mod.conv2 + _orig_mod.bn2"),
            *("_orig_mod:add + _orig_mod.relu2", "_orig_mod.pool", "_orig_mod.head"),
        ),
    ),
    "compiled part": Specimen(
        CompiledPart, (":input", "stem", "part._orig_mod.0 + part._orig_mod.1 + part._orig_mod.2")
    ),
    "in train mode": Specimen(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)),
        (":input", "0 + 1 + 2"),
        is_eval=False,
    ),
    "branch on the data": Specimen(Branching, (":input", "conv + :relu", "bright"), floating=(":sum",)),
    "many outputs": Specimen(ManyOutputs, (":input", "stem + :relu", "left", "right", ":sigmoid", ":sigmoid#1")),
    "head over a pyramid": Specimen(
        PyramidHead,
        (
            *(":input", "stem", ":avg_pool2d", "head.0 + head.1", "head.2"),
            *("head.0#1 + head.1#1", "head.2#1", "head.0#2 + head.1#2", "head.2#2"),
        ),
    ),
    "weight standardization": Specimen(
        lambda: nn.Sequential(StandardizedConv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()), (":input", "0 + 1 + 2")
    ),
    "parametrized weights": Specimen(parametrized, (":input", "0 + 1 + 2", "3")),
    "FrozenBatchNorm2d": Specimen(frozen_norm, (":input", "0 + 1:mul#2 + 1:add#1 + 2", "3")),
    "dropout": Specimen(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.5, inplace=True), nn.Conv2d(8, 4, 1)),
        (":input", "0", "2"),
    ),
    "writing into a buffer": Specimen(
        IntoBuffer, (":input", "conv", "head"), floating=(":new_zeros", ":setitem", ":setitem#1")
    ),
    "chunk, split and cat": Specimen(Shuffle, (":input", "stem", "conv + bn + :relu", ":cat")),
    "gate": Specimen(Gate, (":input", "stem + bn", ":silu", "squeeze", "narrow + :relu", "wide", ":sigmoid", ":mul")),
    "two inputs": Specimen(
        TwoInputs,
        (":input", ":input#1", "depth", ":interpolate", "color", ":sub + :relu"),
        (IMAGE, (4, 1, 6, 6)),
    ),
    "DataParallel": Specimen(
        lambda: nn.DataParallel(Small()),
        (
            *(":input", "module.conv1 + module.bn1 + module.relu1", "module.conv2 + module.bn2"),
            *("module:add + module.relu2", "module.pool", "module.head"),
        ),
    ),
    "autograd.Function": Specimen(OwnFunction, (":input", "conv + bn", ":sigmoid", ":mul", "head")),
    "tensor as a plain attribute": Specimen(PlainAttribute, (":input", "conv", "head"), floating=(":add",)),
    "modules in a plain list": Specimen(HiddenModules, (":input", "stem", "<Conv2d>", "<Conv2d>#1")),
    "two readers": Specimen(TwoReaders, (":input", "conv", "bn", ":add")),
    "decoder": Specimen(Upsampling, (":input", "down", "up + bn + :relu", ":cat", "head", ":interpolate#2")),
    "the same layer twice": Specimen(shared_twice, (":input", "0.0 + 0.1 + 0.2", "0.0#1 + 0.1#1 + 0.2#1")),
    "PReLU and LeakyReLU": Specimen(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 4, 1), nn.LeakyReLU(0.1)),
        (":input", "0 + 1", "2 + 3"),
    ),
}
