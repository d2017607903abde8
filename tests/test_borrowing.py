"""The user's model, data and generators are as before, whatever was done with them."""

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils.data import DataLoader, Dataset

from qdiag.comparison.compare import compare
from qdiag.comparison.inspect import inspect
from qdiag.errors import ModelError
from qdiag.export.compare_dump import compare_dump
from qdiag.export.export_onnx import export_onnx
from qdiag.export.export_target import export_target
from qdiag.export.verify import verify
from qdiag.linting.lint import lint_model
from qdiag.quantization.calibrate import calibrate as calibrate_model
from qdiag.quantization.quantized_model import QuantizedModel
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.tracer import trace
from tests.models import ZOO, Specimen, calibrate


class Noisy(Dataset[tuple[Tensor, int]]):
    """Draws from every generator there is, as augmentations do."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.randn(3, 12, 12) * random.random() + np.random.rand(), index % 5


class Restless(nn.Module):
    """Writes to whatever a forward can write to."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.drop = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5)
        self.frozen = nn.BatchNorm2d(8).eval()  # a user keeps it so, in a model that is in train mode
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("not_a_number", torch.full((2,), torch.nan))
        self.head = nn.Linear(8, 5)
        self.conv.weight.requires_grad_(False)
        self.memory: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        self.register_buffer("cache", x.mean())
        self.memory = x
        self.added = x
        x = x + torch.rand(1) + random.random() * np.random.rand()
        x.sub_(0.5)
        return self.head(self.drop(self.frozen(self.bn(self.conv(x)))).mean((2, 3)))


def restless() -> Restless:
    model = Restless().train()
    model.frozen.eval()
    model.head(torch.ones(1, 8)).sum().backward()
    model.conv.register_forward_hook(lambda *_: None)
    return model


def everything(model: nn.Module) -> dict[str, Any]:
    """All that a user could find changed, in a form that compares; tensors as bytes."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_always_called")
    return {
        "state": {name: tensor.detach().numpy().tobytes() for name, tensor in model.state_dict().items()},
        "identity": [id(tensor) for tensor in (*model.parameters(), *model.buffers())],
        "modes": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: {k: id(v) for k, v in vars(m).items()} for name, m in model.named_modules()},
        "hooks": {name: [list(vars(m).get(table, ())) for table in hooks] for name, m in model.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "gradients": {n: None if p.grad is None else p.grad.numpy().tobytes() for n, p in model.named_parameters()},
        "versions": [parameter._version for parameter in model.parameters()],
    }


def surroundings() -> dict[str, Any]:
    """The same of the process."""
    tables = [name for name in vars(module_hooks) if name.startswith("_global_") and "hooks" in name]
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": str(np.random.get_state()),
        "python": random.getstate(),
        "hooks": {name: list(getattr(module_hooks, name) or ()) for name in tables},
        "gradients": torch.is_grad_enabled(),
        "stance": torch._dynamo.eval_frame._stance,
        "modes": torch.overrides._get_current_function_mode_stack(),
    }


def half_way(steps: Iterator[Any]) -> Iterator[Any]:
    """Run the first steps of some work and return it, unfinished."""
    for _ in range(2):
        next(steps)
    return steps


def loader() -> DataLoader[Any]:
    return DataLoader(Noisy(), batch_size=4, shuffle=True)


def export(quantized: QuantizedModel) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(quantized, Path(folder, "model.onnx"), torch.ones(2, 3, 12, 12))


def deliver(quantized: QuantizedModel) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export_target(quantized, folder, torch.ones(1, 3, 12, 12))


def compare_with_nothing(quantized: QuantizedModel) -> None:
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "conv.npy"), np.zeros(3))
        assert not compare_dump(quantized, torch.ones(1, 3, 12, 12), folder).passed


WORK: dict[str, Callable[[nn.Module], Any]] = {
    "trace": lambda model: trace(model, torch.randn(2, 3, 12, 12, generator=torch.Generator())),
    "lint": lambda model: lint_model(model, torch.ones(2, 3, 12, 12)),
    "calibrate": lambda model: calibrate(model, loader()),
    "quantized forward": lambda model: calibrate(model, loader())(torch.ones(2, 3, 12, 12)),
    "compare": lambda model: compare(model, loader()),
    "inspect": lambda model: inspect(model, loader(), {"8-bit": calibrate(model, loader())}, ["conv"]),
    "export": lambda model: export(calibrate(model, loader())),
    "verify": lambda model: verify(calibrate(model, loader()), torch.ones(1, 3, 12, 12)),
    "export for a target": lambda model: deliver(calibrate(model, loader())),
    "compare with a dump": lambda model: compare_with_nothing(calibrate(model, loader())),
    "calibration left half way": lambda model: half_way(calibrate_model.steps(model, loader(), "simple")),
    "comparison left half way": lambda model: half_way(compare.steps(model, loader())),
}

every_work = pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())


@every_work
def test_model_and_process_are_as_before(work: Callable[[nn.Module], Any]) -> None:
    model = restless()
    work(model)  # the first call of some functions imports parts of torch
    before = everything(model), surroundings()
    unfinished = work(model)
    assert (everything(model), surroundings()) == before
    del unfinished
    assert (everything(model), surroundings()) == before


@every_work
def test_model_and_process_are_as_before_when_the_model_raises(work: Callable[[nn.Module], Any]) -> None:
    model = restless()
    raise_at_call(model, number=1)
    before = everything(model), surroundings()
    with pytest.raises(ModelError):
        work(model)
    assert (everything(model), surroundings()) == before


@pytest.mark.parametrize("number", [3, 5, 7])
def test_an_error_in_the_middle_of_a_comparison_leaves_nothing_behind(number: int) -> None:
    model = restless()
    calls = raise_at_call(model, number)
    before = everything(model), surroundings()
    with pytest.raises(ModelError, match="on strike"):
        compare(model, loader())
    assert calls[-1] == number - 1
    assert (everything(model), surroundings()) == before


def raise_at_call(model: Restless, number: int) -> list[int]:
    """Let the model raise when its last layer runs for the given time; returns the calls so far."""
    calls: list[int] = []

    def count(*_: Any) -> None:
        calls.append(len(calls))
        if len(calls) >= number:
            raise RuntimeError("on strike")

    model.head.register_forward_hook(count)
    return calls


@pytest.mark.parametrize("specimen", ZOO.values(), ids=ZOO.keys())
def test_every_construct_is_left_as_it_was(specimen: Specimen) -> None:
    model = specimen.model()
    before = everything(model), surroundings()
    quantized = calibrate(model, [Inputs(*specimen.inputs())])
    quantized(*specimen.inputs())
    compare(model, [Inputs(*specimen.inputs())], quantized={"8-bit": quantized})
    assert (everything(model), surroundings()) == before


def test_an_exception_thrown_into_the_work_leaves_the_model_as_it_was() -> None:
    model = restless()
    before = everything(model), surroundings()
    steps = half_way(compare.steps(model, loader()))
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert (everything(model), surroundings()) == before


def test_between_two_steps_the_model_can_be_trained() -> None:
    model = restless()
    steps = compare.steps(model, loader())
    for _ in steps:
        assert model.training
        assert torch.is_grad_enabled()
        model(torch.randn(2, 3, 12, 12)).sum().backward()
        assert model.memory is not None


def test_work_draws_the_same_whatever_is_drawn_between_its_steps() -> None:
    undisturbed, disturbed = NoisyRecord(), NoisyRecord()
    seed_all()
    calibrate(restless(), DataLoader(undisturbed, batch_size=4))
    seed_all()
    for _ in calibrate_model.steps(restless(), DataLoader(disturbed, batch_size=4), "simple"):
        torch.rand(5), np.random.rand(5), random.random()
    torch.testing.assert_close(disturbed.given, undisturbed.given, rtol=0, atol=0)
    assert len({float(image.sum()) for image in disturbed.given[-12:]}) == 12  # no two steps draw the same


def seed_all() -> None:
    torch.manual_seed(0), np.random.seed(0), random.seed(0)


class NoisyRecord(Noisy):
    """Keeps what it gave."""

    def __init__(self) -> None:
        self.given: list[Tensor] = []

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = super().__getitem__(index)
        self.given.append(image)
        return image, label


def test_users_tensors_are_not_written_to() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x -= x.mean()
            return self.conv(x)

    model, images = Centred(), torch.rand(4, 3, 8, 8)
    before = images.clone()
    trace(model, images)
    quantized = calibrate(model, images)
    quantized(images)
    compare(model, [images])
    assert torch.equal(images, before)


def test_a_forward_that_writes_to_its_parameters_is_refused() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.conv.weight.mul_(0.99)
            return self.conv(x)

    with pytest.raises(ModelError, match=r"writes to its own parameter 'conv.weight'"):
        trace(Writes(), torch.rand(1, 3, 8, 8))
