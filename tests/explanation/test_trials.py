"""Trials change one thing, and what they report is what that change does."""

import torch
from torch import nn

from qdiag.comparison.compare import compare
from qdiag.explanation.explain import rank
from qdiag.explanation.mends import raised_steps
from qdiag.explanation.repairs import repairs_steps
from qdiag.explanation.trials import loudest, trial_steps
from qdiag.progress import run
from qdiag.quantization.deadline import Deadline
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.quantization.sensitivity import sensitivity
from qdiag.subject import Subject
from tests.models import calibrate


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    return net.eval(), torch.randn(16, 3, 8, 8)


def ground(net: nn.Module, images: torch.Tensor) -> Subject:
    return Subject(net, images, calibration_data=images)


def relative(test: torch.Tensor, reference: torch.Tensor) -> float:
    return float((test - reference).norm() / reference.norm())


def test_a_layers_trial_quantizes_it_and_no_other() -> None:
    net, images = network()
    quantized = calibrate(net, images, bits=8)
    trials = run(trial_steps(ground(net, images), compare(net, images, quantized={"8-bit": quantized}), quantized))
    tried = {str(trial.site): trial.output for trial in trials if trial.kind == "layer"}
    assert set(tried) == {":input", "0", "2", "5"}
    for name, output in tried.items():
        others = {layer.site: None for layer in quantized.plan.layers if str(layer.site) != name}
        one = QuantizedModel(net, quantized.plan.change(others, others), quantized.calibration)
        with torch.no_grad():
            assert abs(output.relative_error - relative(one(images), net(images))) < 1e-5
        assert output.relative_error > 0


def test_weights_alone_and_activations_alone_are_each_less_than_both() -> None:
    net, images = network()
    quantized = calibrate(net, images, bits=4)
    comparison = compare(net, images, quantized={"4-bit": quantized})
    parts = {
        t.title: t.output.sqnr_db
        for t in run(trial_steps(ground(net, images), comparison, quantized))
        if t.kind == "part"
    }
    assert min(parts.values()) > comparison.outputs["4-bit"].sqnr_db


def test_raising_every_layer_to_16_bits_gives_the_16_bit_network() -> None:
    net, images = network()
    quantized, fine = calibrate(net, images, bits=8), calibrate(net, images, bits=16)
    sites = [layer.site for layer in quantized.plan.layers]
    trial = run(raised_steps(ground(net, images), quantized, sites, images=16))
    expected = compare(net, images, quantized={"16-bit": fine}).outputs["16-bit"]
    assert abs(trial.output.sqnr_db - expected.sqnr_db) < 0.1


def test_a_stretched_channel_is_loud_though_its_tensor_s_sqnr_is_fine() -> None:
    torch.manual_seed(0)
    stretched, consumer = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), stretched, nn.ReLU(), consumer)
    with torch.no_grad():
        stretched.bias.fill_(1.0)  # type: ignore[union-attr]
        stretched.weight[1] *= 256
        stretched.bias[1] *= 256  # type: ignore[index]
        consumer.weight[:, 1] /= 256
    comparison = compare(net, torch.randn(16, 3, 8, 8), bits=(8,))
    assert (comparison.layer("2").lanes["8-bit"].added["sqnr_db"] or 0.0) > 20
    assert str(loudest(comparison, 1)[0]) == "2"


def test_where_one_layer_is_tried_it_is_the_worst_and_its_share_is_of_all() -> None:
    net, images = network()
    with torch.no_grad():
        net.get_parameter("2.weight")[0] *= 40
    quantized = calibrate(net, images, bits=8)
    comparison = compare(net, images, quantized={"8-bit": quantized})
    trials = run(trial_steps(ground(net, images), comparison, quantized, most=1))
    worst = sensitivity(quantized, images).worst_first[0]
    (culprit,) = rank(comparison, None, trials)
    assert culprit.layer.site == worst.site
    assert culprit.share < 1
    assert abs(culprit.share - (worst.share or 0.0)) < 0.1


def test_a_repair_stands_beside_the_formats_as_they_are_on_the_same_images() -> None:
    net, images = network()
    more = Subject(net, [images, images * 0.01], calibration_data=images)
    quantized = calibrate(net, images, bits=8)
    comparison = compare(more, quantized={"8-bit": quantized})
    made = run(repairs_steps(more.on([images]), quantized, Deadline(1e-9))).made
    trials = run(trial_steps(more.on([images]), comparison, quantized, made))
    expected = compare(more.on([images]), quantized={"8-bit": quantized}).outputs["8-bit"]
    repairs = [trial for trial in trials if trial.kind == "repair"]
    assert repairs
    for repair in repairs:
        assert repair.before is not None
        assert repair.before.images == repair.images == repair.output.images == 16
        assert abs(repair.before.sqnr_db - expected.sqnr_db) < 1e-6
