"""Training of models that give their own losses, and what is told before long work or in its first step."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from qdiag.errors import InputError, ModelError, OptionError, QdiagWarning
from qdiag.quantization.calibrate import calibrate
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.training.recipe import Recipe
from qdiag.training.train import train
from tests.training.nets import CLASSES, images_and_labels, loader, net
from tests.training.test_networks import Detector, shots

RECIPE = Recipe(epochs=8, batch_size=2, learning_rate=0.02)


def in_tuples(samples: list[Any]) -> tuple[Any, ...]:
    return tuple(zip(*samples, strict=True))


@pytest.mark.training
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("from_loader", [True, False])
def test_a_detector_learns_from_its_own_losses(quantized: bool, from_loader: bool) -> None:
    torch.manual_seed(0)
    model, (images, targets) = Detector(), shots(6)
    samples = list(zip(images, targets, strict=True))
    data: Any = DataLoader(samples, 3, collate_fn=in_tuples) if from_loader else [(images, targets)]  # type: ignore[arg-type]
    student = QuantTrainModule.from_calibrated(calibrate(model, [(images,)], "simple")) if quantized else model
    result = train(student, data, RECIPE)
    assert result.history[-1].loss < 0.8 * result.history[0].loss
    assert result.history[0].right_percent is None


@pytest.mark.training
def test_the_users_loss_may_weight_them_and_one_called_loss_is_all_of_it() -> None:
    class Totalled(Detector):
        def forward(self, images: Any, targets: Any = None) -> Any:
            result = super().forward(images, targets)
            return {**result, "loss": result["box"]} if self.training else result

    first = []
    for kind, loss in ((Totalled, None), (Detector, lambda losses, _: losses["box"]), (Detector, None)):
        torch.manual_seed(0)
        first.append(train(kind(), [shots(4)], Recipe(epochs=1, batch_size=2, loss=loss)).history[0].loss)
    assert first[0] == first[1] < first[2]


def test_what_a_detector_cannot_do_in_training_is_refused() -> None:
    class NoLosses(Detector):
        def forward(self, images: Any, targets: Any = None) -> Any:
            return [one["boxes"] for one in self.eval()._call_impl(images)] if targets else super().forward(images)

    for model, data, recipe, code in (
        (Detector(), ([shots(4)], [shots(4)]), Recipe(), "option-value"),
        (Detector(), [shots(4)], Recipe(distillation=1.0), "option-value"),
        (NoLosses(), [shots(4)], Recipe(), "targets"),
    ):
        with pytest.raises((InputError, OptionError)) as raised:
            train(model, data, recipe, teacher=Detector())
        assert raised.value.code == code


@pytest.mark.parametrize("options", [{"epochs": 1.5}, {"batch_size": 2.5}, {"seed": 0.5}, {"epochs": True}])
def test_parts_of_an_epoch_or_of_an_image_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="a whole number"):
        Recipe(**options)


class Rooted(nn.Module):
    """A square root of what is exactly 0, and a layer that nothing is made of."""

    def __init__(self, *, cut: bool = False, rooted: bool = True) -> None:
        super().__init__()
        self.inner, self.idle, self.cut, self.rooted = net(), nn.Linear(2, 2), cut, rooted

    def forward(self, x: Tensor) -> Tensor:
        logits = self.inner(x)
        if self.rooted:
            logits = logits + (logits - logits).sqrt()
        return logits.detach() if self.cut and self.training else logits


def test_what_cannot_be_learned_from_is_said_before_long_work() -> None:
    wide = nn.Sequential(net(), nn.Linear(CLASSES, 7))
    unknown = [(images, torch.full((len(images), CLASSES), torch.nan)) for images, _ in images_and_labels()]
    number: Any = lambda out, labels: 0.5  # noqa: E731
    cases: list[tuple[nn.Module, Any, dict[str, Any], str]] = [
        (net(), loader(), {"recipe": Recipe(loss=lambda out, labels: out.sum(1))}, "loss-not-scalar"),
        (net(), loader(), {"recipe": Recipe(loss=number)}, "loss-not-scalar"),
        (net(), loader(), {"recipe": Recipe(loss=lambda out, labels: out.detach().sum())}, "no-gradient"),
        (Rooted(cut=True), loader(), {}, "no-gradient"),
        (net(), loader(), {"recipe": Recipe(distillation=0.5), "teacher": wide}, "other-teacher"),
        (net(), unknown, {}, "loss-not-finite"),
        (Rooted(), loader(), {}, "gradient-not-finite"),
        (net(), [(torch.full((8, 1, 8, 8), torch.nan), torch.zeros(8).long())], {}, "data-not-finite"),
    ]
    for model, data, options, code in cases:
        with pytest.raises((ModelError, OptionError, InputError)) as raised:
            train(model, data, **options)
        assert raised.value.code == code


@pytest.mark.training
def test_weights_that_no_gradient_reaches_are_named() -> None:
    with pytest.warns(QdiagWarning, match=r"no gradient reaches idle\.weight, idle\.bias, which"):
        train(Rooted(rooted=False), loader(), Recipe(epochs=1))
