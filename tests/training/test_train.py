"""Training, of float models and in fixed point: what is learned, what is measured, what is refused."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

from qdiag.demo.digits import digits
from qdiag.demo.load import wild_net
from qdiag.demo.networks import HealthyNet
from qdiag.errors import InputError, ModelError, OptionError
from qdiag.progress import Progress
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from tests.training.nets import CLASSES, IMAGES, Noisy, equal, images, images_and_labels, loader, net

ONE = Recipe(epochs=1)


@pytest.mark.training
def test_a_float_model_learns_the_digits() -> None:
    torch.manual_seed(0)
    result = train(
        HealthyNet(), (TensorDataset(*digits()), TensorDataset(*digits("test"))), Recipe.from_scratch(epochs=3)
    )
    assert result.before["float"]["top1_percent"] < 30
    assert result.after["float"]["top1_percent"] > 90
    assert [epoch.number for epoch in result.history] == [1, 2, 3]
    assert list(result.after) == ["float", "16-bit", "8-bit"]
    assert result.after["16-bit"]["top1_percent"] == pytest.approx(result.after["float"]["top1_percent"], abs=0.5)


@pytest.mark.training
def test_training_in_fixed_point_repairs_it_without_labels() -> None:
    """The demo's network as found in the wild falls from 99 to 85 % in 8 bit."""
    model = wild_net()
    unlabelled, validation = digits()[0], TensorDataset(*digits("test"))
    result = train(QuantTrainModule(model, unlabelled[:2]), (unlabelled, validation), Recipe(epochs=3))
    assert result.before["8-bit"]["top1_percent"] < 90
    assert result.after["8-bit"]["top1_percent"] > 95
    assert result.model_name == "WildNet"


@pytest.mark.training
def test_a_plain_loop_gives_the_same_weights() -> None:
    """SGD with momentum and a cosine, by hand, over images in the order of the data set's numbers."""
    data = TensorDataset(torch.arange(8.0).reshape(8, 1) / 8, torch.arange(8) % 3)
    seen: list[list[float]] = []

    class Linear(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append((x[:, 0] * 8).tolist())
            return super().forward(x)

    model, plain = Linear(1, 3), nn.Linear(1, 3)
    plain.load_state_dict(model.state_dict())
    recipe = Recipe(epochs=2, batch_size=3, optimizer="sgd", learning_rate=0.5, weight_decay=0.01)
    train(model, data, recipe)
    assert [len(batch) for batch in seen] == [3] * 4
    assert all(len({number for batch in seen[at : at + 2] for number in batch}) == 6 for at in (0, 2))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01)
    for step, batch in enumerate(seen):
        optimizer.param_groups[0]["lr"] = 0.5 * (1 + np.cos(np.pi * (step + 0.5) / 4)) / 2
        optimizer.zero_grad()
        numbers = torch.tensor(batch).reshape(-1, 1)
        F.cross_entropy(plain(numbers / 8), numbers[:, 0].long() % 3).backward()
        optimizer.step()
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()))


@pytest.mark.training
def test_the_seed_decides_and_the_guest_s_random_state_does_not() -> None:
    models = [net() for _ in range(3)]
    for number, (model, seed) in enumerate(zip(models, (0, 0, 1), strict=True)):
        torch.manual_seed(number)
        train(model, loader(), Recipe(epochs=1, seed=seed))
        after = torch.rand(1)
        torch.manual_seed(number)
        assert torch.equal(torch.rand(1), after)
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


@pytest.mark.training
def test_workers_draw_what_one_process_draws() -> None:
    alone, with_workers = net(), net()
    train(alone, DataLoader(Noisy(), batch_size=16), ONE)
    train(with_workers, DataLoader(Noisy(), batch_size=16, num_workers=2), ONE)
    assert equal(alone, with_workers)


@pytest.mark.training
def test_modes_and_attributes_come_back_as_they_were() -> None:
    model = net().train()
    model[1].eval()
    before = set(vars(model))
    train(model, (loader(), images_and_labels()), ONE)
    assert [module.training for module in model] == [True, False, *[True] * 8]
    assert set(vars(model)) == before
    assert not model._forward_hooks


@pytest.mark.training
def test_progress_carries_loss_and_accuracy() -> None:
    heard: list[Progress] = []
    result = train(net(), loader(), ONE, on_progress=heard.append)
    steps = [progress for progress in heard if progress.label == "epoch 1 of 1"]
    assert [progress.done for progress in steps] == [1, 2, 3, 4, 5, 6]
    assert {progress.total for progress in steps} == {6}
    assert steps[-1].values["loss"] == result.history[0].loss
    assert steps[-1].values["right_percent"] == result.history[0].right_percent


@pytest.mark.training
def test_partial_epochs_draw_other_images_each() -> None:
    seen: list[Tensor] = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                seen.append(x.detach().flatten())
            return super().forward(x)

    data = TensorDataset(torch.arange(100.0).reshape(100, 1), torch.zeros(100, dtype=torch.int64))
    result = train(Watching(1, 2), data, Recipe(epochs=2, epoch_size=0.1, batch_size=5, learning_rate=1e-6))
    first, second = (set(torch.cat(seen[at : at + 2]).tolist()) for at in (0, 2))
    assert (len(first), len(second), result.images) == (10, 10, 10)
    assert first != second


class Freezable(nn.Module):
    """Says at which of its steps it was frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.steps = nn.Linear(1, 2), 0
        self.frozen: dict[str, int] = {}

    def freeze_norms(self) -> None:
        self.frozen.setdefault("norms", self.steps)

    def freeze_ranges(self) -> None:
        self.frozen.setdefault("ranges", self.steps)

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return self.inner(x)


@pytest.mark.training
def test_norms_and_then_ranges_are_frozen_in_the_second_half() -> None:
    model = Freezable()
    train(model, [(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))] * 5, Recipe(epochs=4, batch_size=4))
    assert model.steps == 20
    assert model.frozen == {"norms": 10, "ranges": 12}


@pytest.mark.training
def test_an_explicit_teacher_is_measured_and_left_alone() -> None:
    teacher = net().train()
    before = copy.deepcopy(teacher)
    student = QuantTrainModule.from_calibrated(calibrate(net(), images(), "simple"))
    recipe = Recipe(epochs=1, distillation=0.5, temperature=2.0)
    result = train(student, (loader(), images_and_labels()), recipe, teacher=teacher)
    assert list(result.before) == ["teacher", "float", "16-bit", "8-bit"]
    assert list(result.after) == ["float", "16-bit", "8-bit"]
    assert equal(teacher, before)
    assert teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_bad_recipes_are_refused() -> None:
    for option in ({"epochs": 0}, {"epoch_size": 0}, {"learning_rate": -1}, {"optimizer": "best"}, {"warmup": 2}):
        with pytest.raises(OptionError, match=next(iter(option))):
            Recipe(**option)


class Streamed(torch.utils.data.IterableDataset):
    def __iter__(self):  # type: ignore[no-untyped-def]
        yield torch.zeros(1, 8, 8), 0


def test_what_cannot_be_trained_is_refused_before_any_work(tmp_path: Path) -> None:
    labels = torch.zeros(8, dtype=torch.int64)
    frozen, calibrated = net().requires_grad_(False), calibrate(net(), images(), "simple")
    weighted = DataLoader(Noisy(), sampler=WeightedRandomSampler([1.0] * IMAGES, IMAGES))
    cases = [
        (net(), images(), {}, OptionError, "no-labels"),
        (net(), [(images(), labels + CLASSES)], {}, InputError, "a label is 4, but .* 0 to 3"),
        (net(), [(images(), labels - 1)], {}, InputError, r"Recipe\(ignore_index=-1\)"),
        (net(), [(images(), torch.zeros(8, 3))], {}, InputError, "targets"),
        (net(), torch.zeros(0, 1, 8, 8), {}, InputError, "empty-data"),
        (net(), DataLoader(Streamed()), {}, InputError, "data-order"),
        (net(), weighted, {}, InputError, "data-order"),
        (net(), 3, {}, InputError, "data-type"),
        (net(), (loader(), loader(), loader()), {}, OptionError, "data has 3 parts"),
        (net(), loader(), {"resume": True}, OptionError, "option-without-its-other"),
        (frozen, loader(), {}, ModelError, "no-gradient"),
        (calibrated, loader(), {}, ModelError, "not-trainable"),
        (nn.Linear, loader(), {}, ModelError, "the class Linear"),
    ]
    for model, data, options, kind, says in cases:
        with pytest.raises(kind, match=says):
            train(model, data, ONE, **options)  # type: ignore[arg-type]


@pytest.mark.training
def test_a_wrong_label_later_on_is_refused_where_it_comes() -> None:
    data = TensorDataset(torch.zeros(64, 1, 8, 8), torch.arange(64).clamp(60) - 60)
    with pytest.raises(InputError, match="label-out-of-range"):
        train(net(), TensorDataset(data.tensors[0], data.tensors[1] + 1), Recipe(epochs=2, batch_size=4))


@pytest.mark.training
def test_a_loss_that_becomes_nan_stops_the_run_with_the_checkpoint_whole(tmp_path: Path) -> None:
    model = net()
    with pytest.raises(ModelError, match="training-diverged"):
        train(model, loader(), Recipe(optimizer="sgd", learning_rate=1e30), output=tmp_path, checkpoint_seconds=0)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    assert all(bool(tensor.isfinite().all()) for tensor in saved.values())


class Pixels(nn.Module):
    """[N, 1, 8, 8] to [N, 2, 8, 8]: is a pixel bright?"""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.training
def test_pixels_are_segmented_and_ignored_ones_do_not_count() -> None:
    torch.manual_seed(0)
    pixels = torch.rand(64, 1, 8, 8)
    labels = (pixels[:, 0] > 0.5).long()
    labels[:, 0] = 255  # nobody knows
    data, recipe = TensorDataset(pixels, labels), Recipe(epochs=8, batch_size=8, learning_rate=0.03, ignore_index=255)
    model = Pixels()
    result = train(QuantTrainModule(model, pixels[:2]), (data, data), recipe)
    found = result.after["8-bit"]
    assert found["miou_percent"] > 90
    with torch.no_grad():
        decided, known = model.eval()(pixels).argmax(1), labels != 255
    unions = [((decided == k) | (labels == k))[known].sum() for k in (0, 1)]
    shared = [((decided == k) & (labels == k))[known].sum() for k in (0, 1)]
    expected = 50 * sum(float(s / u) for s, u in zip(shared, unions, strict=True))
    assert result.after["float"]["miou_percent"] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(InputError, match="a label is 255"):
        train(Pixels(), data, ONE)


@pytest.mark.training
def test_other_outputs_learn_from_numbers_or_from_the_teacher() -> None:
    torch.manual_seed(0)
    images = torch.randn(64, 1, 8, 8)
    regression = TensorDataset(images, images.mean((2, 3)) * 3)

    def mean() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
        )

    model = mean()
    recipe = Recipe(epochs=10, batch_size=8, learning_rate=0.02)
    result = train(model, (regression, regression), recipe, formats=())
    assert result.after["float"]["mse"] < 0.5 * result.before["float"]["mse"]
    learned = train(mean(), (images, images), recipe, teacher=model, formats=())
    assert learned.after["float"]["mse"] < 0.5 * learned.before["float"]["mse"]


@pytest.mark.training
@pytest.mark.parametrize("signals", [torch.randn(16, 2, 8), [torch.randn(8, 2, 8)] * 2, [(torch.randn(8, 2, 8),)] * 2])
def test_signals_in_one_dimension_are_no_lists_of_images(signals: Any) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(24, 3))

    result = train(make(), (signals, signals), ONE, teacher=make(), formats=())
    assert "agreement_percent" in result.after["float"]


@pytest.mark.training
def test_tensorboard_has_the_curves(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = train(net(), (loader(), images_and_labels()), Recipe(epochs=2), output=tmp_path, tensorboard=True)
    found = events.EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [point.value for point in found.Scalars("loss")] == pytest.approx([epoch.loss for epoch in result.history])
    assert "top1_percent" in found.Tags()["scalars"]


@pytest.mark.training
def test_a_loader_that_shuffles_is_one_like_any_other() -> None:
    shuffled, ordered = net(), net()
    train(shuffled, DataLoader(Noisy(), 16, sampler=RandomSampler(Noisy())), ONE)
    train(ordered, loader(), ONE)
    assert equal(shuffled, ordered)


@pytest.mark.parametrize(("broken", "words"), [([37], "image 37 of the data"), ([80, 3], "images 3, 80 of the data")])
@pytest.mark.parametrize("workers", [0, 1])
def test_images_with_nan_are_named_by_their_place_in_the_data(broken: list[int], words: str, workers: int) -> None:
    pixels, labels = torch.randn(96, 1, 8, 8), torch.arange(96) % 4
    pixels[broken, 0, 2, 2] = torch.nan
    data = DataLoader(TensorDataset(pixels, labels), batch_size=96, num_workers=workers, shuffle=True)
    with pytest.raises(InputError, match=words) as caught:
        train(net(), data, Recipe(epochs=1))
    assert caught.value.code == "data-not-finite"


def test_an_image_with_nan_is_named_also_behind_the_first_batch() -> None:
    pixels = torch.randn(96, 1, 8, 8)
    pixels[41] = torch.inf
    with pytest.raises(InputError, match=r"image 41 of the data to train with holds NaN or infinity, counted from 0"):
        train(net(), [(pixels, torch.arange(96) % 4)], Recipe(epochs=1, batch_size=4))
