"""A run ends with its best epoch: what was reached on the way is not lost to what came after."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from qdiag.errors import OptionError
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.report.to_text import render_text
from qdiag.training.epoch import Metrics
from qdiag.training.kept_weights import better, put_weights, weights_of
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from tests.training.nets import equal, images, images_and_labels, loader, net, same

RUINOUS = Recipe(epochs=2, learning_rate=1e3, optimizer="sgd")


def trained_in_float() -> nn.Module:
    model = net()
    train(model, (loader(), images_and_labels()), Recipe.from_scratch(epochs=4))
    return model


def quantized(model: nn.Module) -> QuantTrainModule:
    return QuantTrainModule.from_calibrated(calibrate(model, images(), "simple", on_progress=lambda _: None))


@pytest.mark.training
@pytest.mark.filterwarnings("ignore")
def test_training_that_only_harms_leaves_the_weights_before_it() -> None:
    model = quantized(trained_in_float())
    before = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    result = train(model, (loader(), images_and_labels()), RUINOUS)
    after = model.state_dict()
    assert result.kept_epoch == 0
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert result.after["8-bit"] == result.before["8-bit"]
    assert "no epoch was better" in render_text(result.report(), 100)


@pytest.mark.training
@pytest.mark.filterwarnings("ignore")
def test_the_last_epochs_weights_where_these_are_asked_for() -> None:
    model = quantized(trained_in_float())
    result = train(model, (loader(), images_and_labels()), Recipe(epochs=2, learning_rate=1e-4, keep="last"))
    assert result.kept_epoch == 2


@pytest.mark.training
def test_without_validation_data_the_last_epochs_weights() -> None:
    assert train(net(), loader(), Recipe(epochs=2)).kept_epoch == 2


@pytest.mark.training
def test_the_result_is_measured_on_what_was_kept() -> None:
    model = quantized(trained_in_float())
    result = train(model, (loader(), images_and_labels()), Recipe(epochs=3, learning_rate=1e-3))
    seen: list[Metrics] = [result.before["8-bit"], *(epoch.validation for epoch in result.history)]
    figures = [metrics["top1_percent"] for metrics in seen]
    assert result.after["8-bit"]["top1_percent"] == figures[result.kept_epoch] == max(figures)


@pytest.mark.parametrize(
    ("metrics", "is_taken"),
    [
        ({"top1_percent": 60.0, "top5_percent": 10.0}, True),
        ({"top1_percent": 50.0}, True),  # as good, and trained longer
        ({"top1_percent": 49.0, "top5_percent": 99.0}, False),
        ({"top1_percent": float("nan")}, False),
        ({}, False),
    ],
    ids=str,
)
def test_the_first_metric_decides(metrics: Mapping[str, float], is_taken: bool) -> None:
    model = net()
    known = better(None, 1, {"top1_percent": 50.0}, model)
    found = better(known, 2, metrics, model)
    assert (found is not known) == is_taken


def test_of_errors_the_smaller_is_better() -> None:
    model = net()
    known = better(None, 1, {"mse": 0.5}, model)
    found = better(known, 2, {"mse": 0.4}, model)
    assert found is not None
    assert found.epoch == 2
    assert better(found, 3, {"mse": 0.6}, model) is found


def test_weights_are_a_copy_and_all_come_back() -> None:
    model, other = quantized(net()), quantized(net())
    known = better(None, 1, {"mse": 0.5}, model)
    assert known is not None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert same(known.weights["model"], weights_of(other)["model"])
    put_weights(model, known.weights)
    assert equal(model, other)


def test_what_to_keep_is_one_of_two() -> None:
    with pytest.raises(OptionError, match="keep='first'"):
        Recipe(keep="first")  # type: ignore[arg-type]
