"""Which channels may be scaled together, and which may not."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.planning.channels import ChannelGroup, channel_groups
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.tracing.tracer import trace


class Net(nn.Module):
    """Two convolutions with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor], groups: int = 1, readers: int = 8):
        super().__init__()
        self.between = between
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(readers, 8, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x)))


def groups_of(model: nn.Module) -> list[ChannelGroup]:
    return channel_groups(plan_quantization(trace(model.eval(), torch.randn(2, 3, 8, 8)), 8))


@pytest.mark.parametrize(
    ("between", "ceiling"),
    [
        (lambda x: x, math.inf),
        (F.relu, math.inf),
        (F.relu6, 6.0),
        (lambda x: F.hardtanh(x, -1, 2), 1.0),
        (lambda x: F.leaky_relu(x, 0.1), math.inf),
        (lambda x: F.max_pool2d(F.relu6(x), 2), 6.0),
        (lambda x: F.avg_pool2d(x, 2), math.inf),
        (lambda x: F.pad(x, (1, 1)), math.inf),
        (lambda x: x.mean((2, 3), keepdim=True), math.inf),
        (lambda x: F.interpolate(x, scale_factor=2), math.inf),
        (lambda x: x + F.relu(x), math.inf),
    ],
)
def test_what_keeps_channels_apart_lets_them_be_scaled(between: Callable[[Tensor], Tensor], ceiling: float) -> None:
    (group,) = groups_of(Net(between))
    assert [str(layer.site) for layer in group.writers] == ["first"]
    assert [str(layer.site) for layer in group.readers] == ["second"]
    assert (group.channels, group.ceiling) == (8, ceiling)


@pytest.mark.parametrize(
    "between",
    [
        F.silu,
        torch.sigmoid,
        lambda x: F.hardtanh(x, 1, 2),
        lambda x: x.clamp(min=0.5),
        lambda x: x + 1,
        lambda x: x * x,
        lambda x: torch.softmax(x, 1),
        lambda x: F.pad(x, (1, 1), value=3.0),
        lambda x: x.flip(1),
        lambda x: x[:, torch.tensor([7, 6, 5, 4, 3, 2, 1, 0])],
        lambda x: x.mean((1, 2), keepdim=True).expand(-1, 8, -1, -1),
        lambda x: torch.cat([x[:, :4], x[:, 4:]], 1),
        lambda x: F.group_norm(x, 2),
    ],
)
def test_what_mixes_or_bends_channels_does_not(between: Callable[[Tensor], Tensor]) -> None:
    assert groups_of(Net(between)) == []


def test_a_residual_joins_all_tensors_of_its_stream() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(x + self.body(x))

    (group,) = groups_of(Residual())
    assert {str(site) for site in group.stored} == {"stem", "body", ":add"}
    assert {str(layer.site) for layer in group.writers} == {"stem", "body"}
    assert {str(layer.site) for layer in group.readers} == {"body", "head"}


def test_the_network_s_own_inputs_and_outputs_keep_their_scale() -> None:
    assert groups_of(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())) == []

    class TwoOutputs(Net):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            y = self.first(x)
            return y, self.second(y)

    assert groups_of(TwoOutputs(nn.Identity())) == []


def test_a_classifier_reads_pooled_channels() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    (group,) = groups_of(model)
    assert [str(layer.site) for layer in group.readers] == ["3"]
    spread = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 2))
    assert groups_of(spread) == []
