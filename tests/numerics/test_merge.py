"""Convolution and BatchNorm as one convolution, against running both in double precision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qdiag.numerics.merge import NormState, input_first, merge, output_first
from tests.models import settle

CASES: dict[str, Callable[[], nn.Sequential]] = {
    "with bias": lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)),
    "without bias": lambda: nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, eps=0.1)),
    "without affine": lambda: nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)),
    "grouped": lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d(6)),
    "grouped transposed": lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2), nn.BatchNorm2d(6)),
    "depthwise transposed": lambda: nn.Sequential(nn.ConvTranspose2d(4, 8, 2, groups=4), nn.BatchNorm2d(8)),
}


@pytest.mark.parametrize("build", CASES.values(), ids=CASES.keys())
def test_merged_convolution_computes_what_both_did(build: Callable[[], nn.Sequential]) -> None:
    x = torch.randn(4, 4, 9, 9, dtype=torch.double)
    model = settle(build().double(), x)
    conv, norm = model[0], model[1]  # type: ignore[index]
    transposed, groups = isinstance(conv, nn.ConvTranspose2d), conv.groups
    state = NormState(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
    expected = model(x)
    weight, bias = merge(output_first(conv.weight, transposed, groups), conv.bias, state)
    conv.weight, conv.bias = nn.Parameter(input_first(weight, transposed, groups)), nn.Parameter(bias)
    torch.testing.assert_close(conv(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_output_channels_of_a_transposed_weight_lie_first(groups: int) -> None:
    """One output channel's row is what an impulse in each of its group's input channels makes of it."""
    conv = nn.ConvTranspose2d(4, 8, 3, groups=groups, bias=False)
    rows = output_first(conv.weight.detach(), True, groups)
    assert rows.shape == (8, 4 // groups, 3, 3)
    for channel in range(8):
        first = channel // (8 // groups) * (4 // groups)  # its group's first input channel
        for i in range(4 // groups):
            impulse = torch.zeros(1, 4, 1, 1)
            impulse[0, first + i] = 1
            assert torch.equal(conv(impulse)[0, channel], rows[channel, i])


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 6), (6, 2, 5)])
@pytest.mark.parametrize("transposed", [True, False])
def test_moving_channels_there_and_back_changes_nothing(shape: tuple[int, ...], transposed: bool) -> None:
    weight: Tensor = torch.randn(shape)
    assert torch.equal(input_first(output_first(weight, transposed, 2), transposed, 2), weight)


def test_by_hand() -> None:
    state = NormState(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([4.0]), torch.tensor([0.5]), eps=1.0)
    weight, bias = merge(torch.tensor([[3.0]]), torch.tensor([2.0]), state)  # gamma / sqrt(var + eps) = 4 / 2
    assert weight.tolist() == [[6.0]]
    assert bias.tolist() == [2.5]  # (2 - 1) * 2 + 0.5
    _, without = merge(torch.tensor([[3.0]]), None, state)
    assert without.tolist() == [-1.5]  # (0 - 1) * 2 + 0.5
