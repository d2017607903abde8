"""Every operation has an address of its own, and it can be found by it."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18

from qdiag.errors import SiteNotFound
from qdiag.tracing.operations import canonical
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Trace
from qdiag.tracing.tracer import trace
from tests.models import ZOO

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def residual() -> Trace:
    return trace(resnet18(), IMAGE)


def names(model: nn.Module, *inputs: Tensor) -> list[str]:
    return [str(site) for site in trace(model, inputs).sites()]


def test_first_block_of_a_resnet(residual: Trace) -> None:
    path = "layer1.0."
    expected = ["conv1", "bn1", "relu", "conv2", "bn2", ":add", "relu#1"]
    found = [str(site) for site in residual.sites() if site.path.startswith("layer1.0")]
    assert found == ["layer1.0:add" if name == ":add" else path + name for name in expected]


def test_a_module_and_a_function_of_the_same_name_are_told_apart(residual: Trace) -> None:
    assert not residual["relu"].is_functional
    assert residual["layer1.0:add"].is_functional
    assert residual[":flatten"].site == Site("", "flatten")


def test_in_place_and_dunder_forms_are_one_operation(residual: Trace) -> None:
    class Forms(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x + 1
            x += 1
            x.add_(1)
            x = 1 - x
            return torch.add(x / 2, F.relu_(x))

    assert names(Forms(), IMAGE) == [":add", ":add#1", ":add#2", ":sub", ":div", ":relu", ":add#3"]


def test_addresses_are_unique_in_every_construct() -> None:
    for specimen in ZOO.values():
        sites = names(specimen.model(), *specimen.inputs())
        assert len(set(sites)) == len(sites)


def test_occurrences_are_counted_for_each_module_and_operation() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.other = nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.relu(self.other(self.relu(x))))

    assert names(Twice(), IMAGE) == ["relu", "other", "relu#1", ":relu"]


def test_a_shared_module_is_known_by_its_first_name() -> None:
    conv = nn.Conv2d(3, 3, 1)
    assert names(nn.Sequential(conv, nn.Sequential(conv)), IMAGE) == ["0", "0#1"]


def test_modules_hidden_in_a_list_are_known_by_their_class() -> None:
    specimen = ZOO["modules in a plain list"]
    assert names(specimen.model(), *specimen.inputs()) == ["stem", "<Conv2d>", "<Conv2d>#1"]


def test_a_second_trace_gives_the_same_addresses() -> None:
    model = resnet18()
    assert trace(model, IMAGE).sites() == trace(model, IMAGE).sites()


def test_a_call_is_found_by_site_by_text_and_by_text_with_occurrence(residual: Trace) -> None:
    call = residual["layer1.0.relu"]
    assert residual[Site("layer1.0.relu", "relu")] is call
    assert residual["layer1.0.relu#0"] is call
    assert residual["layer1.0.relu#1"] is not call
    assert "layer1.0.relu#1" in residual
    assert call.site in residual
    assert "layer1.0.relu#2" not in residual


def test_an_unknown_address_names_the_nearest(residual: Trace) -> None:
    expected = r"no site 'layer1.0.relu#2' in this trace. Nearest: 'layer1\.\d\.relu"
    with pytest.raises(SiteNotFound, match=expected) as error:
        residual["layer1.0.relu#2"]
    assert str(error.value).endswith("List them with trace.sites().")


def test_an_address_like_no_other_gets_no_suggestion(residual: Trace) -> None:
    with pytest.raises(SiteNotFound, match=r"(?s)^no site '\?'[^.]*\. List them.*no-site"):
        residual["?"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu_", "relu"),
        ("__iadd__", "add"),
        ("__radd__", "add"),
        ("__rsub__", "sub"),
        ("__rtruediv__", "div"),
        ("add.Tensor", "add"),
        ("conv2d.default", "conv2d"),
        ("__getitem__", "getitem"),
        ("T", "transpose"),
        ("_", "_"),
    ],
)
def test_canonical_names(name: str, expected: str) -> None:
    assert canonical(name) == expected
