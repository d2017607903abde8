import copy
import math
import runpy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from qdiag.blocks import AddBlock
from qdiag.demo.digits import Split, digits, digits_loader
from qdiag.demo.load import DemoKind, healthy_net, load_demo, wild_net
from qdiag.demo.networks import WildNet
from qdiag.demo.recipes import healthy_optimizer, wild_optimizer
from qdiag.demo.stretch import WILD_CHANNELS, WILD_FACTOR, stretch_wild
from qdiag.errors import OptionError

ROOT = Path(__file__).parents[1]
NETS: list[Callable[[], nn.Module]] = [healthy_net, wild_net]


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(digits("test")[0])


def accuracy(model: nn.Module) -> float:
    return (logits(model).argmax(dim=1) == digits("test")[1]).float().mean().item()


@torch.no_grad()
def with_rounded_weights(model: nn.Module, bits: int) -> nn.Module:
    """An independent sketch: BatchNorm merged by hand, weights rounded to a power-of-2 scale per tensor.

    Merged here means that a convolution takes over its BatchNorm's factor, and the BatchNorm keeps the offset. Both
    networks register each BatchNorm right after its convolution, so reading modules in order pairs them.
    """
    model = copy.deepcopy(model)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    for conv, norm in pairwise(layers):
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            conv.weight *= factor.view(-1, 1, 1, 1)
            norm.bias.sub_(factor * norm.running_mean)
            norm.weight.fill_(math.sqrt(1 + norm.eps))
            norm.running_mean.zero_()
            norm.running_var.fill_(1)
    for layer in layers:
        if not isinstance(layer, nn.BatchNorm2d):
            limit = 2 ** (bits - 1)
            scale = 2 ** math.ceil(math.log2(layer.weight.abs().max())) / limit
            layer.weight.copy_((layer.weight / scale).round().clamp(-limit, limit - 1) * scale)
    return model


def leaf_calls(model: nn.Module) -> list[nn.Module]:
    """The modules without children, in the order in which one forward calls them."""
    calls: list[nn.Module] = []
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, *_: calls.append(module))
    logits(model)
    return calls


@pytest.mark.parametrize("net", NETS)
def test_the_packaged_networks_read_digits(net: Callable[[], nn.Module]) -> None:
    assert accuracy(net()) >= 0.96


@pytest.mark.parametrize("net", NETS)
def test_16_bit_weights_are_as_good_as_float(net: Callable[[], nn.Module]) -> None:
    model = net()
    assert accuracy(with_rounded_weights(model, bits=16)) == pytest.approx(accuracy(model), abs=0.005)
    error = logits(with_rounded_weights(model, bits=16)) - logits(model)
    assert error.norm() < 0.003 * logits(model).norm()


def test_8_bit_weights_cost_the_wild_network_5_points_or_more() -> None:
    assert accuracy(wild_net()) - accuracy(with_rounded_weights(wild_net(), bits=8)) >= 0.05


def test_8_bit_weights_cost_the_healthy_network_nearly_nothing() -> None:
    assert accuracy(healthy_net()) - accuracy(with_rounded_weights(healthy_net(), bits=8)) < 0.015


def test_the_stretch_alone_is_what_8_bits_cannot_hold() -> None:
    relaxed = wild_net()
    stretch_wild(relaxed, 1 / WILD_FACTOR)
    assert accuracy(relaxed) - accuracy(with_rounded_weights(relaxed, bits=8)) < 0.015


def test_the_stretch_changes_nothing_in_float() -> None:
    stretched, relaxed = wild_net(), wild_net()
    stretch_wild(relaxed, 1 / WILD_FACTOR)
    torch.testing.assert_close(logits(relaxed), logits(stretched), rtol=1e-4, atol=0)
    ratio = stretched.block3.depthwise_bn.weight / relaxed.block3.depthwise_bn.weight
    assert ratio.ne(1).nonzero().flatten().tolist() == list(WILD_CHANNELS)


def test_the_weights_are_small_and_float32() -> None:
    files = sorted((ROOT / "qdiag/demo/weights").iterdir())
    assert [file.name for file in files] == ["healthy.pt", "wild.pt"]
    assert sum(file.stat().st_size for file in files) < 1_000_000
    tensors = [tensor for file in files for tensor in torch.load(file, weights_only=True).values()]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize(("split", "count"), [("train", 1297), ("test", 500), ("calibration", 128)])
def test_a_split_is_fixed_normalised_and_holds_every_digit(split: Split, count: int) -> None:
    images, labels = digits(split)
    assert images.shape == (count, 1, 16, 16)
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert labels.bincount(minlength=10).min() >= count // 10 - 7
    assert abs(images.mean()) < 0.05
    assert abs(images.std() - 1) < 0.2
    assert torch.equal(digits(split)[0], images)


def test_nothing_is_tested_on_that_was_trained_or_calibrated_on() -> None:
    train, test, calibration = (_keys(split) for split in ("train", "test", "calibration"))
    assert not train & test
    assert calibration < train


def test_a_loader_serves_its_split_in_order() -> None:
    batches = list(digits_loader("test", batch_size=200))
    assert [len(images) for images, _ in batches] == [200, 200, 100]
    assert torch.equal(torch.cat([labels for _, labels in batches]), digits("test")[1])


@pytest.mark.parametrize(
    "call", [lambda: digits(cast("Split", "validation")), lambda: load_demo(cast("DemoKind", "tame"))]
)
def test_what_is_not_on_offer_is_refused_with_what_is(call: Callable[[], object]) -> None:
    with pytest.raises(OptionError, match=r"^No (split 'validation'|demo 'tame')\. Use .*'"):
        call()


@pytest.mark.parametrize("kind", ["wild", "healthy"])
def test_a_demo_is_ready_to_run(kind: DemoKind) -> None:
    demo = load_demo(kind)
    images, labels = next(iter(demo.loader))
    assert not demo.model.training
    assert (demo.model(images).argmax(dim=1) == labels).float().mean() > 0.9
    assert next(iter(demo.calibration_loader))[0].shape == images.shape
    optimized = {id(parameter) for group in demo.optimizer.param_groups for parameter in group["params"]}
    assert optimized == {id(parameter) for parameter in demo.model.parameters()}
    assert kind in demo.name


def test_the_healthy_recipe_decays_every_weight() -> None:
    assert {group["weight_decay"] for group in healthy_optimizer(healthy_net()).param_groups} == {1e-4}


def test_the_wild_recipe_spares_the_depthwise_weights_alone() -> None:
    net = wild_net()
    spared = [p for g in wild_optimizer(net).param_groups if g["weight_decay"] == 0 for p in g["params"]]
    blocks = (net.block1, net.block2, net.block3, net.block4)
    assert {id(parameter) for parameter in spared} == {id(block.depthwise.weight) for block in blocks}


def test_the_wild_network_has_one_convolution_without_batchnorm_and_uses_relus_twice() -> None:
    net = wild_net()
    calls = leaf_calls(net)
    bare = [a for a, b in pairwise(calls) if isinstance(a, nn.Conv2d) and not isinstance(b, nn.BatchNorm2d)]
    assert bare == [net.stem]
    assert {calls.count(block.relu) for block in (net.block1, net.block2, net.block3, net.block4)} == {2}


def test_the_healthy_network_has_a_batchnorm_after_every_convolution_and_uses_each_module_once() -> None:
    calls = leaf_calls(healthy_net())
    assert len(calls) == len(set(calls))
    assert {type(b) for a, b in pairwise(calls) if isinstance(a, nn.Conv2d)} == {nn.BatchNorm2d}
    assert sum(isinstance(module, AddBlock) for module in calls) == 2


@pytest.mark.training
def test_the_training_script_writes_weights_that_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(ROOT / "examples/train_digits.py"))
    script["main"](["--epochs", "1", "--out", str(tmp_path)])
    WildNet().load_state_dict(torch.load(tmp_path / "wild.pt", weights_only=True))
    assert "wild.pt: float accuracy" in capsys.readouterr().out


def _keys(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in digits(split)[0]}
