"""The cause is on the side that makes the noise, and has the right word."""

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.comparison.layer_error import LayerError
from qdiag.explanation.explain import explain
from qdiag.planning.widths import Widths


class Chain(nn.Module):
    """Two convolutions; the second reads a constant channel of the first, and its bias takes that away again."""

    def __init__(self, constant: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, padding=1)
        with torch.no_grad():
            self.first.weight[2] = 0
            self.first.bias[2] = constant  # type: ignore[index]
            self.second.bias -= constant * self.second.weight[:, 2].sum((1, 2))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu()).relu()


def images(top: float = 1.0) -> Tensor:
    return torch.rand(32, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * top


def error_of(model: nn.Module, data: Tensor, layer: str, **options: Tensor) -> LayerError:
    return compare(model.eval(), data, (8,), **options).layer(layer).lanes["8-bit"]  # type: ignore[arg-type]


@pytest.mark.parametrize(("widths", "low", "high"), [(Widths(6, 16), 0.95, 1.0), (Widths(16, 6), 0.0, 0.05)])
def test_the_side_with_the_fewer_bits_is_blamed(widths: Widths, low: float, high: float) -> None:
    comparison = compare(Chain(constant=25.0).eval(), images(), (widths,))
    error = comparison.layer("second").lanes[str(widths)]
    assert low <= error.weight_share <= high
    assert error.weight_share == pytest.approx(max(0.0, 1 - error.rounding_noise / error.added_noise))


def test_white_is_a_step_off_and_not_clipped() -> None:
    """A third of the values are exactly 1.0, the end of the range 2^0, which 255 steps of 2^-8 do not quite reach."""
    white = (images() * 1.5).clamp(max=1.0)
    assert error_of(Chain(), white, ":input").accumulated["clipped_percent"] == 0.0
    assert error_of(Chain(), white, ":input").clipping_noise == 0.0


@pytest.mark.parametrize(("factor", "cause"), [(0.05, "clipping"), (0.3, "clipping"), (16.0, "wasted-range")])
def test_ranges_of_other_data_have_a_word(factor: float, cause: str) -> None:
    comparison = compare(Chain().eval(), images(), (8,), calibration_data=images() * factor)
    causes = {str(c.layer.site): c.evidence[0].cause for c in explain(comparison).culprits if c.evidence}
    assert causes[":input"] == cause


def test_clipping_and_rounding_are_parted() -> None:
    error = error_of(Chain(), images(), ":input", calibration_data=images(0.4))
    assert error.clipped_share > 0.9
    assert error.weight_share == 0.0
    assert error.clipped_share + error.rounded_share == pytest.approx(1.0)


def test_a_shifted_mean_is_told_by_channel() -> None:
    """The weights of one channel are all rounded up: its mean moves, which the mean over the tensor hardly shows."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 16, 1, bias=False)
    model = nn.Sequential(conv)
    with torch.no_grad():
        conv.weight.mul_(0.01)
        conv.weight[0, 0] = 1.0
        conv.weight[5] = 0.006
    error = error_of(model, images() + 1.0, "0")
    assert abs(error.shift) > 0.5
    assert abs(error.shift) > 5 * abs(error.added["mean_shift"] or 0.0)
