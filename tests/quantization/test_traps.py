"""Constructs that tools get silently wrong: in 16 bit each reproduces float, and all lanes agree."""

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs, named_leaves
from tests.models import ZOO, Sample


def outputs(model: nn.Module, batch: object) -> Tensor:
    inputs = Inputs.of(batch, model.module if isinstance(model, QuantizedModel) else model)
    with torch.no_grad():
        return torch.cat([t.flatten() for _, t in named_leaves(model(*inputs.args, **inputs.kwargs))])


@pytest.fixture(params=ZOO, ids=str)
def sample(request: pytest.FixtureRequest) -> Sample:
    torch.manual_seed(0)
    found = ZOO[request.param]()
    found.model.eval()
    return found


def test_16_bits_reproduce_float(sample: Sample) -> None:
    qm = calibrate(sample.model, sample.batches, bits=16)
    for batch in sample.batches:
        expected = outputs(sample.model, batch)
        error = (outputs(qm, batch) - expected).norm() / expected.norm()
        assert 0 < error < 1e-3


def test_operations_group_into_the_layers_that_the_target_runs(sample: Sample) -> None:
    plan = calibrate(sample.model, sample.batches, bits=8).plan
    if sample.layers:
        assert tuple(tuple(map(str, layer.sites)) for layer in plan.layers) == sample.layers
    for layer in plan.layers:
        assert layer.output is not None
        assert (layer.weight is not None) == layer.is_weighted


def test_the_lane_of_a_comparison_is_the_quantized_model(sample: Sample) -> None:
    qm = calibrate(sample.model, sample.batches, bits=8)
    found = compare(sample.model, sample.batches, quantized={"8-bit": qm}).outputs["8-bit"]
    expected = torch.cat([outputs(sample.model, batch) for batch in sample.batches])
    actual = torch.cat([outputs(qm, batch) for batch in sample.batches])
    relative = float((actual - expected).norm() / expected.norm())
    assert found.relative_error == pytest.approx(relative, rel=0.02)
    assert relative > 1e-4  # 8 bits are not 16: the formats are really applied


def test_each_use_of_a_relu_has_a_range_of_its_own() -> None:
    torch.manual_seed(0)
    sample = ZOO["one_relu_at_two_scales"]()
    qm = calibrate(sample.model, sample.batches, bits=8)
    first, second = (qm.lane.qparams[qm.plan.layer(name).site].exponent for name in ("relu", "relu#1"))
    assert int(second) - int(first) >= 3


def test_the_weights_of_a_one_dimensional_convolution_are_quantized() -> None:
    torch.manual_seed(0)
    sample = ZOO["one_dimensional"]()
    qm = calibrate(sample.model, sample.batches, bits=8)
    qm(sample.batches[0])
    facts = qm.lane.weight_facts[qm.plan.layer("0").site]
    assert float(facts.noise.sum()) > 0


@pytest.mark.parametrize("per_channel", [None, "depthwise", "all"])
def test_channels_of_a_transposed_convolution_keep_their_order(per_channel: str | None) -> None:
    torch.manual_seed(0)
    sample = ZOO["grouped_transposed_convolution"]()
    with torch.no_grad():
        sample.model[0].weight[:, 1] *= 30  # type: ignore[index]
    sample.model.eval()
    qm = calibrate(sample.model, sample.batches, bits=16, per_channel=per_channel)  # type: ignore[arg-type]
    expected = outputs(sample.model, sample.batches[0])
    assert (outputs(qm, sample.batches[0]) - expected).norm() / expected.norm() < 1e-3
