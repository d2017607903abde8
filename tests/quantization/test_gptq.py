"""Weights solved for quantized inputs, layer after layer."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.progress import run
from qdiag.quantization.calibration import LayerWeights
from qdiag.quantization.fidelity import fidelity_steps
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.techniques import gptq
from qdiag.quantization.techniques.bias_correction import BiasCorrection
from qdiag.quantization.techniques.gptq import Gptq
from tests.models import calibrate, settle


@pytest.fixture
def images() -> Tensor:
    """Neighbouring pixels are alike, as in photographs."""
    return 5 * F.avg_pool2d(torch.randn(48, 3, 20, 20, generator=torch.Generator().manual_seed(3)), 5, 1)


def network(*layers: nn.Module, images: Tensor) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for module in (found for layer in layers for found in layer.modules()):
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        return settle(nn.Sequential(*layers), images).eval()


def apply(model: QuantizedModel, data: Tensor) -> QuantizedModel:
    return run(Gptq().steps(model, data))


def output_db(model: QuantizedModel, data: Tensor) -> float:
    return run(fidelity_steps(model, data)).output_db


def changed(model: QuantizedModel, name: str) -> LayerWeights | None:
    return model.calibration.weights.get(model.plan.layer(name).site)


LAYERS = {
    "convolution": lambda: (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()),
    "same padding": lambda: (nn.Conv2d(3, 8, 4, padding="same", dilation=2), nn.ReLU()),
    "stride": lambda: (nn.Conv2d(3, 8, (5, 3), stride=(2, 1), padding=(2, 0)), nn.ReLU()),
    "batch norm": lambda: (nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
    "groups": lambda: (nn.Conv2d(3, 12, 3, groups=3), nn.ReLU()),
    "reflected border": lambda: (nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
    "one dimension": lambda: (nn.Flatten(2), nn.Conv1d(3, 8, 9, stride=4), nn.ReLU()),
    "linear": lambda: (nn.Linear(16, 8), nn.ReLU()),
}


@pytest.mark.parametrize("name", LAYERS)
def test_other_images_come_out_nearer_than_with_corrected_biases(name: str, images: Tensor) -> None:
    before = calibrate(network(*LAYERS[name](), images=images), images[:32], bits={"*": 4})
    before = before.change(plan=before.plan.change(output={layer.site: None for layer in before.plan.layers[1:]}))
    after = apply(before, images[:32])
    corrected = run(BiasCorrection().steps(before, images[:32]))
    assert output_db(after, images[32:]) > output_db(corrected, images[32:]) + 0.5


def test_weights_lie_on_a_grid_that_the_format_finds_again(images: Tensor) -> None:
    after = apply(calibrate(network(*LAYERS["convolution"](), images=images), images), images)
    weights = changed(after, "0")
    assert weights is not None
    with torch.no_grad():
        after(images[:1])
    prepared = after.interpreter.operands(after.plan.layer("0"))
    assert prepared is not None
    assert torch.equal(prepared.weight, weights.weight)


def test_a_layer_makes_up_for_what_the_layer_before_it_lost(images: Tensor) -> None:
    """The second layer's weights are not rounded, and yet others: least squares fits them to what comes in."""
    model = network(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), images=images)
    coarse = calibrate(model, images[:32], bits={"0": 3, "*": 16})
    after = apply(coarse, images[:32])
    own, solved = coarse.weights(coarse.plan.layer("2")), changed(after, "2")
    assert own is not None
    assert solved is not None
    kept = after.change(calibration=after.calibration.change(weights={after.plan.layer("2").site: own}))
    kept = run(BiasCorrection().steps(kept, images[:32]))
    assert output_db(after, images[32:]) > output_db(kept, images[32:]) + 0.5


def test_where_images_tell_little_weights_stay_near_their_own(images: Tensor) -> None:
    model = network(nn.Flatten(), nn.Linear(768, 4), images=images)
    before = calibrate(model, images[:2], bits={"1": 16, "*": 4})
    after = changed(apply(before, images[:2]), "1")
    own = before.weights(before.plan.layer("1"))
    assert own is not None
    assert after is not None
    assert float((after.weight - own.weight).norm()) < 0.1 * float(own.weight.norm())


def test_transposed_convolutions_keep_their_weights_and_get_their_means_right(images: Tensor) -> None:
    before = calibrate(network(nn.ConvTranspose2d(3, 4, 2, stride=2), images=images), images, bits={"*": 4})
    own, after = before.weights(before.plan.layer("0")), changed(apply(before, images), "0")
    assert own is not None
    assert after is not None
    assert torch.equal(after.weight, own.weight)
    assert not torch.equal(torch.as_tensor(after.bias), torch.as_tensor(own.bias))


def test_a_layer_of_too_many_inputs_keeps_its_weights(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptq, "MOST_INPUTS", 26)
    before = calibrate(network(*LAYERS["convolution"](), images=images), images)
    own, after = before.weights(before.plan.layer("0")), changed(apply(before, images), "0")
    assert own is not None
    assert after is not None
    assert torch.equal(after.weight, own.weight)


def test_each_channel_finds_its_own_range(images: Tensor) -> None:
    model = network(nn.Conv2d(3, 8, 3), images=images)
    state = model.state_dict()
    state["0.weight"][2] *= 30
    after = apply(calibrate(model, images, per_channel="all"), images)
    with torch.no_grad():
        after(images[:1])
    qparams = after.interpreter.weight_facts[after.plan.layer("0").site].qparams
    assert qparams is not None
    exponents = torch.as_tensor(qparams.exponent)
    assert int(exponents[2]) > int(exponents[[0, 1, 3, 4, 5, 6, 7]].max())
