"""Quantization-aware training by wrapping."""

import copy
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from qdiag.errors import InputError, ModelError, QdiagWarning
from qdiag.planning.widths import Widths
from qdiag.quantization.base_module import QuantBaseModule
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.modules import QuantCalibrateModule, QuantTestModule
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.tracing.borrowing import eagerly
from qdiag.tracing.inputs import named_leaves
from qdiag.training.train import train
from tests.models import IMAGE, ZOO, Small, settle


@pytest.fixture
def model() -> nn.Module:
    return settle(Small(), torch.randn(IMAGE)).eval()


def outputs(result: Any) -> list[Tensor]:
    return [tensor for _, tensor in named_leaves(result) if tensor.is_floating_point()]


@torch.no_grad()
def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    return max(
        (float((a - b).norm() / b.norm().clamp(min=1e-9)) for a, b in zip(found, expected, strict=True)), default=0
    )


def gradients(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


# Those that draw at random draw other numbers in another memory layout.
@pytest.mark.parametrize("name", [name for name in ZOO if name not in ("in train mode", "dropout")])
def test_in_16_bit_a_training_step_is_the_float_models(name: str) -> None:
    model, inputs = ZOO[name].model(), ZOO[name].inputs()
    plain = copy.deepcopy(model).train()
    wrapped = QuantTrainModule(model, inputs if len(inputs) > 1 else inputs[0], bits=16).train()
    for _ in range(2):  # in the second step ranges are the first one's
        found = outputs(wrapped(*inputs))
        with eagerly():
            expected = outputs(plain(*inputs))
    assert distance(found, expected) < 1e-3
    if any(tensor.requires_grad for tensor in found):
        sum(tensor.square().mean() for tensor in found).backward()  # type: ignore[union-attr]
        sum(tensor.square().mean() for tensor in expected).backward()  # type: ignore[union-attr]
        assert distance([gradients(model)], [gradients(plain)]) < 1e-2
    assert distance(outputs(list(model.buffers())), outputs(list(plain.buffers()))) < 1e-3


@pytest.mark.parametrize("name", [name for name in ZOO if name not in ("in train mode", "dropout")])
def test_with_all_frozen_training_computes_what_inference_does(name: str) -> None:
    model, inputs = ZOO[name].model(), ZOO[name].inputs()
    wrapped = QuantTrainModule(model, inputs if len(inputs) > 1 else inputs[0], bits=16).train()
    wrapped(*inputs)
    wrapped.freeze_norms().freeze_ranges()
    assert distance(outputs(wrapped(*inputs)), outputs(wrapped.eval()(*inputs))) < 1e-4


def test_a_dropout_in_place_gets_its_gradients() -> None:
    model, inputs = ZOO["dropout"].model(), ZOO["dropout"].inputs()
    wrapped = QuantTrainModule(model, inputs[0]).train()
    outputs(wrapped(*inputs))[0].square().sum().backward()
    assert bool(gradients(model).isfinite().all())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


def test_the_weight_is_rounded_as_it_will_be_merged() -> None:
    """By hand: W gamma / sigma rounded to int8 · 2^k, undone, convolved, normalized by the batch, rounded to uint8."""
    model, x = Block(), torch.randint(-128, 128, (4, 2, 8, 8)) / 64
    settle(model, torch.randn(4, 2, 8, 8))
    conv, norm = model.conv, model.norm
    assert norm.running_var is not None
    with torch.no_grad():
        factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).reshape(-1, 1, 1, 1)
        merged = conv.weight * factor
        step = 2.0 ** (torch.ceil(torch.log2(merged.abs().max())) - 7)
        rounded = ((merged / step).round().clamp(-128, 127) * step) / factor
        before = F.batch_norm(
            F.conv2d(x, rounded), None, None, norm.weight, norm.bias, training=True, eps=norm.eps
        ).relu()
        step = 2.0 ** (torch.ceil(torch.log2(before.max())) - 8)
        expected = (before / step + 0.5).floor().clamp(0, 255) * step
    found = QuantTrainModule(model, x).train()(x).detach()
    assert float((found - expected).abs().max()) <= float(step)  # sums in another order may round the other way
    assert float((found != expected).float().mean()) < 0.01


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_runs_each_convolution_once(model: nn.Module) -> None:
    images, counts = torch.randn(IMAGE), []
    for network in (copy.deepcopy(model).train(), QuantTrainModule(model, images).train()):
        network(images)
        with Counting() as counting:
            network(images).sum().backward()
        counts.append((counting.calls["convolution"], counting.calls["convolution_backward"]))
    assert counts[0] == counts[1]


def test_frozen_norms_keep_their_statistics_and_learn_their_affine(model: nn.Module) -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantTrainModule(model, images).train()
    wrapped(images)
    statistics = {name: value.clone() for name, value in model.named_buffers() if "running" in name}
    wrapped.freeze_norms()(images * 3).square().sum().backward()
    assert statistics
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers() if "running" in name)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(float(norm.weight.grad.abs().sum()) > 0 for norm in norms if norm.weight.grad is not None)
    assert any(norm.weight.grad is not None for norm in norms)


def test_frozen_ranges_stay(model: nn.Module) -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantTrainModule(model, images).train()
    wrapped(images)
    before = wrapped.freeze_ranges().ranges.found()
    wrapped(images * 100)
    assert wrapped.ranges.found() == before
    wrapped.freeze_ranges(False)(images * 100)
    assert wrapped.ranges.found() != before


def test_frozen_formats_clip_weights_that_grow(model: nn.Module) -> None:
    """One weight far beyond the others would take its tensor's step along, and with it the other weights' values."""
    images = torch.randn(IMAGE)
    wrapped = QuantTrainModule(model, images, bits=16).train()
    wrapped(images)
    wrapped.freeze_norms().freeze_ranges()(images)
    before, layer = wrapped.quantized.weight_clip_exponents(), wrapped.quantized.plan.layer("conv2")
    with torch.no_grad():
        model.get_parameter("conv2.weight")[0, 0, 0, 0] = 1000.0
    trained = wrapped(images)
    assert wrapped.quantized.weight_clip_exponents() == before
    assert distance(outputs(trained), outputs(wrapped.eval()(images))) < 1e-4
    loaded = QuantTestModule(Small(), images)
    loaded.load_state_dict(wrapped.state_dict())
    assert torch.equal(loaded.eval()(images), wrapped(images))
    wrapped.train().freeze_ranges(False)(images)
    assert wrapped.quantized.weight_clip_exponents()[layer.site] > before[layer.site]


def test_weights_lost_in_rounding_are_lost_in_training_too() -> None:
    """Once BatchNorm no longer learns from them; before, they keep their own values."""
    block, images = Block(), torch.randn(4, 2, 8, 8)
    settle(block, images)
    with torch.no_grad():
        block.norm.weight.copy_(torch.tensor([0.001, 1.0, 1.0]))
        block.norm.bias.fill_(0.1)
    wrapped = QuantTrainModule(block, images, bits=Widths(4, 16)).train()
    varied = wrapped(images).detach()[:, 0].std()
    wrapped.freeze_norms().freeze_ranges()
    assert float(varied) > 0
    assert float(wrapped(images).detach()[:, 0].std()) == 0
    assert float(wrapped.eval()(images)[:, 0].std()) == 0


def test_it_saves_what_the_others_load(model: nn.Module, tmp_path: Path) -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantTrainModule(model, images).train()
    wrapped(images)
    expected = wrapped.eval()(images)
    assert set(wrapped.state_dict()) == {f"module.{name}" for name in model.state_dict()} | {"_extra_state"}
    torch.save(wrapped.state_dict(), tmp_path / "trained.pt")
    others: list[QuantBaseModule] = [
        QuantTestModule(Small(), images),
        QuantTrainModule(Small(), images),
        QuantCalibrateModule(Small(), images),
    ]
    for loaded in others:
        loaded.load_state_dict(torch.load(tmp_path / "trained.pt", weights_only=True))
        assert torch.equal(loaded.eval()(images), expected)


@pytest.mark.training
def test_a_saved_training_goes_on_as_if_unbroken(model: nn.Module, tmp_path: Path) -> None:
    batches = torch.randn(6, *IMAGE)

    def steps(wrapped: QuantTrainModule, optimizer: torch.optim.Optimizer, batches: Tensor) -> None:
        for images in batches:
            optimizer.zero_grad()
            wrapped.train()(images).square().mean().backward()
            optimizer.step()

    def begun() -> tuple[QuantTrainModule, torch.optim.Optimizer]:
        wrapped = QuantTrainModule(copy.deepcopy(model), batches[0])
        return wrapped, torch.optim.SGD(wrapped.parameters(), 0.1, momentum=0.9)

    whole, first, second = begun(), begun(), begun()
    steps(*whole, batches)
    steps(*first, batches[:3])
    first[0].freeze_ranges()
    first[0].freeze_ranges(False)
    torch.save([part.state_dict() for part in first], tmp_path / "state.pt")
    network, optimizer = torch.load(tmp_path / "state.pt", weights_only=True)
    second[0].load_state_dict(network)
    second[1].load_state_dict(optimizer)
    steps(*second, batches[3:])
    assert torch.equal(whole[0].eval()(batches[0]), second[0].eval()(batches[0]))
    for a, b in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", ["simple", "advanced", "best"])
def test_it_sets_out_from_what_calibration_found(model: nn.Module, method: str) -> None:
    images = torch.randn(32, *IMAGE[1:])
    calibrated = calibrate(model, images, method)
    expected = calibrated(images)
    wrapped = QuantTrainModule.from_calibrated(calibrated)
    assert distance([wrapped.eval()(images)], [expected]) < 1e-2  # biases pass through BatchNorm's beta in float
    assert wrapped.ranges_frozen
    assert wrapped.norms_frozen
    wrapped.train()(images).square().sum().backward()
    assert float(gradients(model).abs().sum()) > 0


def test_calibrated_weights_load_and_are_trained_from(model: nn.Module) -> None:
    images = torch.randn(32, *IMAGE[1:])
    calibrated = QuantCalibrateModule(model, images[:2], method="best").train()
    calibrated(images)
    expected = calibrated.eval()(images)
    wrapped = QuantTrainModule(Small(), images[:2])
    wrapped.load_state_dict(calibrated.state_dict())
    assert torch.equal(wrapped.eval()(images), expected)
    wrapped.train().freeze_norms()(images)
    assert distance([wrapped.eval()(images)], [expected]) < 1e-2


def learning(model: nn.Module, images: Tensor) -> QuantTrainModule:
    return QuantTrainModule.from_calibrated(calibrate(model, images), learn_thresholds=True).train()


@pytest.mark.training
def test_thresholds_are_learned_and_saved(model: nn.Module, tmp_path: Path) -> None:
    """A loss that wants larger outputs than the format holds widens it; what is loaded goes on with the same."""
    images = torch.randn(32, *IMAGE[1:])
    wrapped = learning(model, images)
    assert {id(one) for one in wrapped.parameters()} == {
        id(one)
        for one in (*model.parameters(), *wrapped.thresholds.parameters())  # type: ignore[union-attr]
    }
    before = wrapped.quantized.format("head")
    with torch.no_grad():
        model.get_parameter("head.bias")[0] = 20.0
    optimizer = torch.optim.Adam(wrapped.thresholds.parameters(), 0.05)  # type: ignore[union-attr]
    for _ in range(200):
        optimizer.zero_grad()
        (wrapped(images)[:, 0] - 20).square().mean().backward()
        optimizer.step()
    after = wrapped.quantized.format("head")
    assert before is not None
    assert after is not None
    assert int(after.exponent) > int(before.exponent)
    assert set(wrapped.state_dict()) == {f"module.{name}" for name in model.state_dict()} | {"_extra_state"}
    torch.save(wrapped.state_dict(), tmp_path / "trained.pt")
    expected = wrapped.eval()(images)
    for loaded in (QuantTestModule(Small(), images), QuantTrainModule(Small(), images), learning(Small(), images)):
        loaded.load_state_dict(torch.load(tmp_path / "trained.pt", weights_only=True))
        assert torch.equal(loaded.eval()(images), expected)
    frozen = wrapped.train().freeze_ranges()(images)
    assert frozen.requires_grad
    assert all(one.grad is None or one.grad.isfinite().all() for one in wrapped.parameters())


@pytest.mark.parametrize("name", [name for name in ZOO if name != "in train mode"])
def test_every_model_learns_its_thresholds(name: str) -> None:
    model, inputs = ZOO[name].model(), ZOO[name].inputs()
    images = [inputs if len(inputs) > 1 else inputs[0]]
    wrapped = QuantTrainModule.from_calibrated(calibrate(model, images, "simple"), learn_thresholds=True).train()
    found = outputs(wrapped(*inputs))
    if any(tensor.requires_grad for tensor in found):
        sum(tensor.square().mean() for tensor in found).backward()  # type: ignore[union-attr]
        assert all(one.grad is None or bool(one.grad.isfinite().all()) for one in wrapped.parameters())


def test_a_threshold_that_becomes_nan_is_named(model: nn.Module) -> None:
    wrapped = learning(model, torch.randn(32, *IMAGE[1:]))
    with torch.no_grad():
        wrapped.thresholds.outputs[1] = torch.nan  # type: ignore[union-attr]
    with pytest.raises(ModelError, match=r"(?s)threshold of 'conv1'.*training-diverged"):
        wrapped(torch.randn(IMAGE))


def test_without_a_batch_there_is_no_result(model: nn.Module) -> None:
    images = torch.randn(IMAGE)
    with pytest.raises(InputError, match=r"(?s)show it a batch.*no-ranges"):
        QuantTrainModule(model, images).eval()(images)


def test_a_tensor_that_becomes_nan_is_named(model: nn.Module) -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantTrainModule(model, images).train()
    with torch.no_grad():
        next(model.parameters()).mul_(torch.nan)
    with pytest.raises(ModelError, match=r"(?s)NaN.*training-diverged"):
        wrapped(images), wrapped(images)


def test_mixed_precision_autocast_and_compile(model: nn.Module) -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantTrainModule(model, images).train()
    expected = wrapped(images).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert distance([wrapped(images).float()], [expected]) < 0.1
    compiled = torch.compile(wrapped)(images)
    compiled.square().sum().backward()
    assert distance([compiled], [expected]) < 0.05


def replica(model: nn.Module) -> nn.Module:
    """As `nn.DataParallel` makes one for each GPU: children linked anew, tensors copied, with a way for gradients."""
    modules = list(model.modules())
    copies = {id(module): module._replicate_for_data_parallel() for module in modules}
    for module in modules:
        made = copies[id(module)]
        for name, child in module.named_children():
            setattr(made, name, copies[id(child)])
            made._modules[name] = copies[id(child)]
        for name, parameter in module._parameters.items():
            if parameter is None:
                made._parameters[name] = None
            else:
                setattr(made, name, parameter * 1)
        for name, buffer in module.named_buffers(recurse=False):
            made._buffers[name] = buffer.clone()
    return copies[id(model)]


@pytest.mark.parametrize("kind", ["followed", "calibrated", "learned"])
def test_a_replica_computes_with_its_own_tensors(model: nn.Module, kind: str) -> None:
    images = torch.randn(32, *IMAGE[1:])
    if kind == "followed":
        wrapped = QuantTrainModule(model, images).train()
        wrapped(images)
    else:
        wrapped = QuantTrainModule.from_calibrated(calibrate(model, images), learn_thresholds=kind == "learned").train()
    expected = wrapped(images)
    made = replica(wrapped)
    found = made(images)
    assert distance([found], [expected]) < (0.05 if kind == "followed" else 1e-6)  # whose ranges moved on
    found.square().sum().backward()
    assert all(parameter.grad is not None for parameter in wrapped.parameters())
    with torch.no_grad():
        made.get_submodule("module.head").weight.zero_()  # type: ignore[operator]
        assert made.eval()(images).var(0).sum() == 0
        assert wrapped.eval()(images).var(0).sum() > 0


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head, self.aux = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + torch.rand_like(x)
        y = self.conv(x)
        if self.training:
            self.aux(y)
        return self.head(y) + x


def test_what_training_alone_computes_is_told() -> None:
    images = torch.randn(IMAGE)
    wrapped = QuantTrainModule(Noisy().eval(), images).train()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        wrapped(images), wrapped(images)
    messages = [str(one.message) for one in told if one.category is QdiagWarning]
    assert len(messages) == 1
    assert "aux" in messages[0]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_of_the_users_on_the_backward_run_and_change_nothing() -> None:
    images = torch.rand(4, 3, 8, 8)
    gradients: list[list[Tensor | None]] = []
    ran: list[str] = []
    for hooked in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
        if hooked:
            net[0].register_full_backward_hook(lambda *_: ran.append("hook"))
            net[1].register_full_backward_pre_hook(lambda *_: ran.append("pre-hook"))
        QuantTrainModule(net, images).train()(images).square().mean().backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    assert sorted(ran) == ["hook", "pre-hook"]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_is_refused_before_the_backward(use_reentrant: bool) -> None:
    class Checkpointed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            run = super().forward
            return checkpoint(run, x, use_reentrant=use_reentrant) if self.training else run(x)

    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    model = QuantTrainModule(Checkpointed(nn.Conv2d(3, 4, 3), nn.ReLU()), images.detach())
    with pytest.raises(ModelError, match="runs under") as raised:
        model.train()(images)
    assert raised.value.code == "gradient-checkpointing"


def test_a_model_made_in_inference_mode_is_compared_and_not_trained() -> None:
    images = torch.rand(4, 3, 8, 8)
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
        inside = calibrate(model, images)(images)
    torch.testing.assert_close(calibrate(model, images)(images), inside, rtol=0, atol=0)
    with pytest.raises(ModelError, match="was made inside") as raised:
        QuantTrainModule(model, images)
    assert raised.value.code == "inference-mode"
    with torch.inference_mode(), pytest.raises(ModelError, match="was called inside"):
        train(nn.Sequential(nn.Conv2d(3, 4, 3)), images)
