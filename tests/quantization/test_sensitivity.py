"""How far each layer alone takes the outputs from float: measured, and estimated at the cost of eight forwards."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from qdiag.demo.load import load_demo
from qdiag.errors import ModelError, OptionError
from qdiag.planning.widths import Bits
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.sensitivity import sensitivity
from qdiag.quantization.sensitivity_result import Sensitivity
from qdiag.subject import Subject
from tests.faults.networks import Classifier
from tests.models import IMAGE, InplaceSum, ManyOutputs, ReusedRelu, Small, settle


def demo() -> tuple[nn.Module, Tensor]:
    loaded = load_demo("wild")
    return loaded.model, next(iter(loaded.loader))[0][:16]


def bottlenecks() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    images = torch.randn(16, 1, 16, 16)
    return settle(Classifier("bottleneck"), images), images


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    ranks = [torch.tensor(values).argsort().argsort().double() for values in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def noises(found: Sensitivity) -> list[float]:
    return [-1.0 if layer.noise is None else layer.noise for layer in found.layers]


def operations(work: Callable[[], object]) -> int:
    """Multiplications, of passes back too."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("network", [demo, bottlenecks])
def test_probes_order_layers_as_trying_each_does_at_the_cost_of_eight_forwards(
    network: Callable[[], tuple[nn.Module, Tensor]],
) -> None:
    model, images = network()
    quantized = calibrate(model, images, "simple")
    found: list[Sensitivity] = []
    forward = operations(lambda: model(images))
    cost = operations(lambda: found.append(sensitivity(quantized, images, "fast")))
    exact = operations(lambda: found.append(sensitivity(quantized, images, "exact")))
    assert spearman(*map(noises, found)) >= 0.95
    assert cost <= 8 * forward
    assert exact <= 0.7 * len(quantized.plan.layers) * forward  # what comes before a layer is shared
    assert found[0].worst_first[0].site == found[1].worst_first[0].site


def test_probes_are_right_of_a_linear_network() -> None:
    """Where the outputs are linear in a layer's error, and images are many, the estimate meets the measurement."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3), nn.Flatten(), nn.Linear(216, 4)).eval()
    quantized = calibrate(net, torch.randn(96, 3, 8, 8), "simple")
    images = torch.randn(96, 3, 8, 8)
    exact, fast = (sensitivity(quantized, images, method, images=96) for method in ("exact", "fast"))
    assert noises(fast) == pytest.approx(noises(exact), rel=0.25)


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_shares_are_of_all_layers_and_the_model_comes_back_as_it_was(method: str) -> None:
    model, images = demo()
    model.requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = sensitivity(Subject(model, images), method=method)  # type: ignore[arg-type]
    assert sum(layer.share or 0.0 for layer in found.layers) == pytest.approx(1.0)
    assert str(found.worst_first[0].site) == "block3.depthwise"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("make", [InplaceSum, ReusedRelu, Small, ManyOutputs])
def test_layers_of_any_network_are_reached(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    images = torch.randn(8, *IMAGE[1:])
    found = sensitivity(settle(make(), images), images, "fast")
    assert all(layer.noise is not None and layer.noise >= 0 for layer in found.layers)
    assert any(layer.noise for layer in found.layers)


def test_layers_in_float_are_left_out_and_16_bit_costs_less() -> None:
    model, images = demo()
    bits: Bits = {"block3.depthwise": 16, "classifier": None, "*": 8}
    found = {str(layer.site): layer for layer in sensitivity(model, images, "fast", bits).layers}
    assert "classifier" not in found
    assert (found["block3.depthwise"].sqnr_db or 0.0) > 40


def test_what_hides_behind_a_detach_is_not_told_of() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            first = self.first(x)
            return first.mean(1), self.second(first.detach())

    torch.manual_seed(0)
    images = torch.randn(8, 3, 6, 6)
    found = {str(layer.site): layer for layer in sensitivity(Detached().eval(), images, "fast").layers}
    assert found["second"].noise is None
    assert found["second"].sqnr_db is None
    assert found["first"].noise


def test_a_forward_without_gradients_is_an_error_that_names_the_other_method() -> None:
    class Frozen(nn.Conv2d):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    torch.manual_seed(0)
    net, images = Frozen(3, 4, 1).eval(), torch.randn(8, 3, 6, 6)
    with pytest.raises(ModelError, match="method='exact'") as caught:
        sensitivity(net, images, "fast")
    assert caught.value.code == "not-differentiable"
    assert all(layer.noise is not None for layer in sensitivity(net, images).layers)


def test_a_method_that_is_none_is_refused_before_any_work() -> None:
    with pytest.raises(OptionError, match="'exact' or 'fast'"):
        sensitivity(nn.Conv2d(3, 4, 1), torch.randn(8, 3, 6, 6), "quick")  # type: ignore[arg-type]


def test_the_report_has_the_worst_layer_first_and_a_picture() -> None:
    model, images = demo()
    found = sensitivity(model, images)
    frame = found.to_pandas()
    assert frame["site"].iloc[0] == "block3.depthwise"
    assert frame["share_percent"].sum() == pytest.approx(100)
    assert "block3.depthwise" in repr(found)
    assert "Measured" in repr(found)
