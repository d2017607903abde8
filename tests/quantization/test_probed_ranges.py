"""Ranges chosen by what their errors do to the outputs."""

import pytest
import torch
from torch import Tensor, nn

from qdiag.progress import run
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques.probed_ranges import ProbedRanges
from qdiag.quantization.techniques.range_search import RangeSearch
from tests.models import calibrate


class Weighed(nn.Module):
    """A loud channel that the outputs hardly hang on, and a quiet one that they are."""

    def __init__(self, of_loud: float):
        super().__init__()
        self.pick, self.sum = nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False)
        nn.init.eye_(self.pick.weight.data[..., 0, 0])
        self.sum.weight.data.copy_(torch.tensor([of_loud, 1.0]).reshape(1, 2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.sum(self.pick(x))


class Counted(nn.Module):
    """Its outputs are whole numbers: no gradient goes back."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).argmax(1)


class Detached(Counted):
    """Asks for NumPy's values, which a tensor with a gradient has not."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * float(x.numpy().max() > 0)


class Writing(Weighed):
    """Writes to its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(1.0))


def images() -> Tensor:
    """Up to 8 in the first channel, up to 1 in the second."""
    torch.manual_seed(0)
    return (torch.rand(8, 2, 16, 16) - 0.5) * torch.tensor([16.0, 2.0]).reshape(1, 2, 1, 1)


def output_db(model: QuantizedModel) -> float:
    return run(fidelity_steps(model, images())).output_db


def test_a_channel_that_the_outputs_hang_on_is_not_given_up_for_a_loud_one() -> None:
    simple = calibrate(Weighed(of_loud=1e-3).eval(), images(), bits={":input": 16, "sum": 16, "*": 8})
    assert str(simple.format("pick")) == "int8 · 2^-4"  # ends at 8
    searched = run(RangeSearch().steps(simple, images()))
    assert str(searched.format("pick")) == "int8 · 2^-4"  # clipping costs the tensor more
    probed = run(ProbedRanges().steps(simple, images()))
    assert str(probed.format("pick")) == "int8 · 2^-7"  # ends at 1, where the quiet channel does
    assert output_db(probed) > output_db(simple) + 6


def test_a_channel_that_the_outputs_hang_on_as_much_keeps_its_range() -> None:
    simple = calibrate(Weighed(of_loud=1.0).eval(), images(), bits={":input": 16, "sum": 16, "*": 8})
    probed = run(ProbedRanges().steps(simple, images()))
    assert str(probed.format("pick")) == "int8 · 2^-4"


def test_the_extremes_are_tried_though_a_range_was_clipped_before() -> None:
    simple = calibrate(Weighed(of_loud=1.0).eval(), images(), bits={":input": 16, "sum": 16, "*": 8})
    site, known = simple.plan.layer("pick").site, simple.calibration
    clipped = simple.change(calibration=known.change(ranges={site: known.ranges[site].within(2.0)}))
    assert str(clipped.format("pick")) == "int8 · 2^-6"
    probed = run(ProbedRanges().steps(clipped, images()))
    assert str(probed.format("pick")) == "int8 · 2^-4"


def test_a_model_may_write_to_its_input() -> None:
    simple = calibrate(Writing(of_loud=1e-3).eval(), images(), bits={":input": 16, "sum": 16, "*": 8})
    probed = run(ProbedRanges().steps(simple, images()))
    assert output_db(probed) > output_db(simple) + 6


@pytest.mark.parametrize("network", [Counted, Detached])
def test_without_a_gradient_ranges_stay_and_the_model_is_as_it_was(network: type[nn.Module]) -> None:
    model = network().train()
    simple = calibrate(model, images())
    probed = run(ProbedRanges().steps(simple, images()))
    assert probed.calibration.ranges == simple.calibration.ranges
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
