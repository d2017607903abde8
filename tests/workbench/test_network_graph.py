"""The network as a graph: who reads whom, in which module, and what colours each layer."""

import json

import pytest
import torch
from torch import Tensor, nn

from qdiag.workbench.layer_graph import graph_json
from qdiag.workbench.network_graph import MEASURES, NetworkGraph
from qdiag.workbench.session import Session


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x).relu())


@pytest.fixture(scope="module")
def session() -> Session:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(Block(), Block()), nn.Flatten(), nn.LazyLinear(4)).eval()
    model(torch.zeros(1, 3, 8, 8))
    made = Session(model, torch.randn(16, 3, 8, 8), folder=None)
    made.diagnose()
    return made


@pytest.fixture(scope="module")
def graph(session: Session) -> NetworkGraph:
    return session.graph()


def test_every_layer_reads_what_the_forward_gives_it(graph: NetworkGraph) -> None:
    reads = graph.to_pandas().set_index("site")["reads"]
    assert dict(reads) == {
        ":input": "",
        "0": ":input",
        "1.0.conv1": "0",
        "1.0.conv2": "1.0.conv1",
        "1.0:add": "0, 1.0.conv2",
        "1.1.conv1": "1.0:add",
        "1.1.conv2": "1.1.conv1",
        "1.1:add": "1.0:add, 1.1.conv2",
        "3": "1.1:add",
    }


def test_modules_nest_as_the_model_nests_them(graph: NetworkGraph) -> None:
    layers = {layer["name"]: layer for layer in json.loads(graph_json(graph))["layers"]}
    assert layers["0"]["modules"] == []
    assert layers["1.0.conv1"]["modules"] == layers["1.0:add"]["modules"] == ["1", "1.0"]


def test_what_colours_a_layer_is_what_the_table_of_layers_says(graph: NetworkGraph, session: Session) -> None:
    table, own = (one.to_pandas().set_index("site") for one in (session.layers(), graph))
    for key in ("damage_percent", "error_percent", "wasted_bits", "macs_percent"):
        assert own[key].to_dict() == pytest.approx(table[key].to_dict(), nan_ok=True)
    added = table["weights_error_percent"] + table["output_error_percent"]
    assert own["added_error_percent"].to_dict() == pytest.approx(added.to_dict())
    assert own["macs_percent"].sum() == pytest.approx(100)


def test_the_page_is_told_little(graph: NetworkGraph) -> None:
    told = graph_json(graph)
    assert len(told) < 400 * len(graph.sites) + 2000
    assert [one["title"] for one in json.loads(told)["measures"]] == [one.title for one in MEASURES]
    assert all(len(layer["values"]) == len(MEASURES) for layer in json.loads(told)["layers"])
