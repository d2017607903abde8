"""The copy of the user's model that a session works on."""

import threading

import pytest
import torch
from torch import Tensor, nn

from qdiag.errors import ModelError
from qdiag.tracing.same_network import is_same_network
from qdiag.workbench.session import Session
from qdiag.workbench.twin import Twin


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))


def test_a_twin_shares_parameters_and_has_buffers_and_modes_of_its_own() -> None:
    model = network().train()
    twin = Twin(model)
    assert twin.module is not model
    assert is_same_network(twin.module, model)
    twin.module.eval()
    twin.module.get_buffer("1.running_mean").fill_(7.0)
    assert all(module.training for module in model.modules())
    assert model.get_buffer("1.running_mean").sum() == 0


def test_what_is_new_in_the_model_is_in_the_refreshed_twin() -> None:
    model = network()
    twin = Twin(model)
    model[0].weight = nn.Parameter(torch.ones(8, 3, 3, 3))
    model.get_buffer("1.running_mean").fill_(2.0)
    twin.refresh()
    assert is_same_network(twin.module, model)
    assert twin.module.get_buffer("1.running_mean").tolist() == [2.0] * 8


def test_other_modules_are_an_error() -> None:
    model = network()
    twin = Twin(model)
    model[2] = nn.SiLU()
    with pytest.raises(ModelError, match="modules-changed"):
        twin.refresh()


class Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.scale = threading.Lock(), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_a_model_that_cannot_be_copied_is_its_own_twin() -> None:
    model = Locked()
    twin = Twin(model)
    assert twin.module is model
    twin.refresh()


def test_work_of_a_session_is_not_seen_on_the_model_by_another_thread() -> None:
    model = network().train()
    session = Session(model, torch.rand(32, 3, 8, 8).split(8), folder=None)
    work = threading.Thread(target=session.diagnose)
    work.start()
    modes = set()
    while work.is_alive():
        modes |= {module.training for module in model.modules()}
        vars(model)["noted"] = "here"
    assert modes == {True}
    assert vars(model)["noted"] == "here"


def test_networks_without_parameters_are_the_same_only_as_one_object() -> None:
    assert not is_same_network(nn.ReLU(), nn.SiLU())
    model = nn.ReLU()
    assert is_same_network(model, model)
    assert not is_same_network(network(), network())
