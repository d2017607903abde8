"""The merged float network is the model, also where operations are called past torch.nn.functional."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.quantization.reference_check import short_products
from tests.models import calibrate


class Norm(nn.BatchNorm2d):
    """Calls a BatchNorm of its own kind."""

    def __init__(self, channels: int, call: Callable[..., Tensor]) -> None:
        super().__init__(channels)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self, x)


NORMS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "torch": lambda m, x: torch.batch_norm(
        x, m.weight, m.bias, m.running_mean, m.running_var, False, 0.1, m.eps, False
    ),
    "aten": lambda m, x: torch.ops.aten.batch_norm.default(
        x, m.weight, m.bias, m.running_mean, m.running_var, False, 0.1, m.eps, False
    ),
    "functional": lambda m, x: nn.functional.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias, eps=m.eps),
    "by name": lambda m, x: nn.functional.batch_norm(
        x, weight=m.weight, running_var=m.running_var, bias=m.bias, running_mean=m.running_mean, eps=m.eps
    ),
}


def network(call: Callable[..., Tensor]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), Norm(6, call), nn.ReLU(), nn.Conv2d(6, 4, 1))
    with torch.no_grad():
        for tensor, low, high in zip(net[1].buffers(), (-1.0, 0.5), (1.0, 2.0), strict=False):
            tensor.uniform_(low, high)
        for parameter in net[1].parameters():
            parameter.uniform_(0.5, 1.5)
    return net.eval(), torch.rand(16, 3, 8, 8)


@pytest.mark.parametrize("name", NORMS)
def test_arguments_are_bound_by_the_function_that_was_called(name: str) -> None:
    net, images = network(NORMS[name])
    with torch.no_grad():
        expected = net(images)
    assert float((calibrate(net, images, bits=16)(images) - expected).norm() / expected.norm()) < 1e-3


def test_a_reference_that_is_not_the_model_is_an_error_that_names_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = network(NORMS["torch"])
    functional = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    monkeypatch.setattr("qdiag.tracing.operations._BUILTIN_BATCH_NORM", functional)  # as it was taken for before
    with pytest.raises(ModelError, match="leaves it at site '0'") as error:
        calibrate(net, images)
    assert error.value.code == "reference-differs"


def test_autocast_around_has_no_effect() -> None:
    net, images = network(NORMS["functional"])
    quantized = calibrate(net, images)
    plain = quantized(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(quantized(images), plain)
        assert torch.equal(calibrate(net, images)(images), plain)


def test_autocast_inside_is_an_error() -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.conv(x).float()

    with pytest.raises(ModelError, match="'conv' computes in bfloat16") as error:
        calibrate(Inside().eval(), torch.rand(4, 3, 8, 8))
    assert error.value.code == "half-precision"


def test_tf32_is_said_where_a_gpu_may_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    said = short_products(torch.device("cuda"))
    assert "torch.backends.cudnn.allow_tf32 = False" in said
    assert "matmul" not in said
    assert not short_products(torch.device("cpu"))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert not short_products(torch.device("cuda"))
