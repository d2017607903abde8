"""Costs of layers, worked by hand."""

import pytest
import torch
from torch import nn

from qdiag.planning.cost import LayerCost, layer_cost
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.tracing.tracer import trace


@pytest.fixture(scope="module")
def costs() -> dict[str, LayerCost]:
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, groups=8), nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2)),
        *(nn.Flatten(), nn.Linear(4 * 8 * 8, 10, bias=False)),
    ).eval()
    plan = plan_quantization(trace(network, torch.zeros(5, 3, 6, 6)))
    return {str(layer.site): layer_cost(plan, layer) for layer in plan.layers}


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (":input", LayerCost(3 * 6 * 6, 0, (3, 6, 6))),
        ("0", LayerCost(8 * 36 * 27, 8 * 27 + 8, (8, 6, 6))),  # the BatchNorm becomes a bias
        ("3", LayerCost(8 * 16 * 9, 8 * 9 + 8, (8, 4, 4))),
        ("4", LayerCost(8 * 16 * 2 * 4, 8 * 2 * 4 + 4, (4, 8, 8))),  # each input goes to 2 channels of 2 x 2
        ("6", LayerCost(256 * 10, 256 * 10, (10,))),
    ],
)
def test_a_layer_costs_for_one_image_what_is_counted_by_hand(
    layer: str, expected: LayerCost, costs: dict[str, LayerCost]
) -> None:
    assert costs[layer] == expected
