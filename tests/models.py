"""The zoo of small models: each shows one construct that quantization tools get wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torchvision.ops import FrozenBatchNorm2d

ZOO: dict[str, Callable[[], "Sample"]] = {}


@dataclass(frozen=True)
class Sample:
    """A model, and two batches that it takes; `layers`: how the operations group, by the text of their sites."""

    model: nn.Module
    batches: list[Any]
    layers: tuple[tuple[str, ...], ...] = ()


def sample(make: Callable[[], Sample]) -> Callable[[], Sample]:
    ZOO[make.__name__] = make
    return make


def noise(*shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(7)
    return list(torch.randn(2, *shape, generator=generator))


def live(norm: nn.Module) -> nn.Module:
    """A BatchNorm with statistics and affine parameters as after training."""
    with torch.no_grad():
        for name, tensor in (*norm.named_parameters(), *norm.named_buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if "var" in name or "weight" in name else tensor.uniform_(-0.3, 0.3)
    return norm


class Functional(nn.Module):
    """A model whose forward is a function of itself and its input."""

    def __init__(self, forward: Callable[..., Any], **modules: Any) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.body = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.body(self, *args, **kwargs)


def conv(inputs: int = 3, outputs: int = 8, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


IMAGES = (4, 3, 10, 10)


@sample
def relu6_with_values_over_6() -> Sample:
    net = nn.Sequential(conv(), nn.ReLU6(), conv(8))
    return Sample(net, [20 * x for x in noise(*IMAGES)], ((":input",), ("0", "1"), ("2",)))


@sample
def in_place_residual() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        identity = m.a(x)
        out = m.b(identity)
        out += identity
        return m.c(F.relu(out, inplace=True))

    net = Functional(forward, a=conv(), b=conv(8), c=conv(8))
    return Sample(net, noise(*IMAGES), ((":input",), ("a",), ("b",), (":add", ":relu"), ("c",)))


@sample
def batchnorm_with_fused_activation() -> Sample:
    class BatchNormAct(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps)
            return F.relu(x)

    net = nn.Sequential(conv(), live(BatchNormAct(8)), conv(8))
    return Sample(net, noise(*IMAGES), ((":input",), ("0", "1", "1:relu"), ("2",)))


@sample
def convolution_with_a_forward_of_its_own() -> Sample:
    class Same(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)

    net = nn.Sequential(Same(3, 8, 3, stride=2), live(nn.BatchNorm2d(8)), nn.ReLU())
    return Sample(net, noise(*IMAGES), ((":input",), ("0", "1", "2")))


@sample
def hardtanh() -> Sample:
    return Sample(nn.Sequential(conv(), nn.Hardtanh(-1, 1), conv(8)), [3 * x for x in noise(*IMAGES)])


@sample
def reflect_padding() -> Sample:
    net = nn.Sequential(conv(padding_mode="reflect"), live(nn.BatchNorm2d(8)), nn.ReLU())
    return Sample(net, noise(*IMAGES), ((":input",), ("0", "1", "2")))


@sample
def batchnorm_without_affine() -> Sample:
    net = nn.Sequential(conv(), live(nn.BatchNorm2d(8, affine=False)), nn.ReLU(), conv(8))
    return Sample(net, noise(*IMAGES), ((":input",), ("0", "1", "2"), ("3",)))


@sample
def one_dimensional() -> Sample:
    net = nn.Sequential(nn.Conv1d(3, 8, 3), live(nn.BatchNorm1d(8)), nn.ReLU(), nn.Conv1d(8, 4, 1))
    return Sample(net, noise(4, 3, 20), ((":input",), ("0", "1", "2"), ("3",)))


@sample
def three_dimensional() -> Sample:
    net = nn.Sequential(nn.Conv3d(3, 4, 3), live(nn.BatchNorm3d(4)), nn.ReLU(), nn.Conv3d(4, 4, 1))
    return Sample(net, noise(2, 3, 6, 6, 6), ((":input",), ("0", "1", "2"), ("3",)))


@sample
def one_relu_at_two_scales() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.c(m.relu(50 * m.b(m.relu(m.a(x)))))

    return Sample(Functional(forward, a=conv(), b=conv(8), c=conv(8), relu=nn.ReLU()), noise(*IMAGES))


@sample
def keyword_arguments() -> Sample:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(16, 2, batch_first=True)
            self.out = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.inner(query=x, key=x, value=x, need_weights=False)[0])

    return Sample(Attention(), noise(4, 5, 16))


@sample
def channels_last_layer_norm() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.norm(m.depthwise(x).permute(0, 2, 3, 1))
        return x + (m.scale * m.shrink(F.gelu(m.grow(y)))).permute(0, 3, 1, 2)

    net = Functional(
        forward,
        depthwise=conv(8, 8, groups=8),
        norm=nn.LayerNorm(8),
        grow=nn.Linear(8, 32),
        shrink=nn.Linear(32, 8),
        scale=nn.Parameter(torch.full((8,), 0.5)),
    )
    return Sample(net, noise(4, 8, 10, 10))


@sample
def grouped_transposed_convolution() -> Sample:
    net = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2, groups=2), live(nn.BatchNorm2d(6)), nn.ReLU(), conv(6))
    return Sample(net, noise(4, 4, 6, 6), ((":input",), ("0", "1", "2"), ("3",)))


@sample
def shared_head_over_levels() -> Sample:
    def forward(m: Any, x: Tensor) -> list[Tensor]:
        return [m.head(F.relu(m.norm(m.conv(y)))) for y in (x, F.max_pool2d(x, 2))]

    return Sample(Functional(forward, conv=conv(), norm=live(nn.BatchNorm2d(8)), head=conv(8, 4)), noise(*IMAGES))


@sample
def frozen_batchnorm() -> Sample:
    norm = FrozenBatchNorm2d(8, eps=1e-3)
    live(norm)
    net = nn.Sequential(conv(bias=False), norm, nn.ReLU(), conv(8))
    return Sample(net, noise(*IMAGES), ((":input",), ("0", "1:mul#2", "1:add#1", "2"), ("3",)))


@sample
def weight_norm() -> Sample:
    return Sample(nn.Sequential(parametrizations.weight_norm(conv()), nn.ReLU(), conv(8)), noise(*IMAGES))


@sample
def weight_standardization() -> Sample:
    class Standardized(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            flat = self.weight.reshape(1, len(self.weight), -1)
            weight = F.batch_norm(flat, None, None, training=True, momentum=0.0).reshape_as(self.weight)
            return F.conv2d(x, weight, self.bias, padding=1)

    return Sample(nn.Sequential(Standardized(3, 8, 3), nn.ReLU(), conv(8)), noise(*IMAGES))


@sample
def split_and_concatenate() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        first, second = m.a(x).chunk(2, 1)
        return m.b(torch.cat([F.relu(first), 4 * second], dim=1))

    return Sample(Functional(forward, a=conv(), b=conv(8)), noise(*IMAGES))


@sample
def write_into_zeros() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        out = torch.zeros_like(y)
        out[:, :4] = y[:, 4:]
        out[:, 4:] = y[:, :4]
        return m.b(out)

    return Sample(Functional(forward, a=conv(), b=conv(8)), noise(*IMAGES))


@sample
def squeeze_and_excite() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.b(y * torch.sigmoid(m.gate(y.mean((2, 3), keepdim=True))))

    return Sample(Functional(forward, a=conv(), gate=nn.Conv2d(8, 8, 1), b=conv(8)), noise(*IMAGES))


@sample
def two_inputs_by_keyword() -> Sample:
    def forward(m: Any, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        return {"sum": m.a(left) + m.b(right), "left": m.a(left)}

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = conv(), conv()

        def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
            return forward(self, left, right)

    return Sample(Pair(), [{"left": x, "right": 2 * x} for x in noise(*IMAGES)])


@sample
def reused_then_overwritten() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        y.relu_()
        y.mul_(0.5).add_(1.0)
        return m.b(y)

    return Sample(Functional(forward, a=conv(), b=conv(8)), noise(*IMAGES))


@sample
def dropout_and_identity() -> Sample:
    return Sample(nn.Sequential(conv(), nn.Dropout2d(0.5), nn.Identity(), nn.ReLU(), conv(8)), noise(*IMAGES))


@sample
def resized_and_added() -> Sample:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        small = F.avg_pool2d(y, 2)
        return m.b(y + F.interpolate(small, size=y.shape[-2:], mode="bilinear", align_corners=False))

    return Sample(Functional(forward, a=conv(), b=conv(8)), noise(*IMAGES))


@sample
def leaky_and_prelu() -> Sample:
    return Sample(nn.Sequential(conv(), nn.LeakyReLU(0.1), conv(8), nn.PReLU(8), conv(8)), noise(*IMAGES))


@sample
def a_function_with_its_own_gradient() -> Sample:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

    def forward(m: Any, x: Tensor) -> Tensor:
        return m.b(Double.apply(m.a(x)))  # type: ignore[no-any-return]

    return Sample(Functional(forward, a=conv(), b=conv(8)), noise(*IMAGES))


@sample
def compiled() -> Sample:
    net = nn.Sequential(conv(), live(nn.BatchNorm2d(8)), nn.ReLU(), conv(8))
    return Sample(torch.compile(net, backend="eager"), noise(*IMAGES))


@sample
def data_parallel() -> Sample:
    return Sample(nn.DataParallel(nn.Sequential(conv(), live(nn.BatchNorm2d(8)), nn.ReLU())), noise(*IMAGES))
