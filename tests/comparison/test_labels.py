"""Labels in the forms that data sets give them in."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.comparison.output_error import OutputError
from qdiag.comparison.output_leaves import Met
from qdiag.comparison.outputs import OutputSums
from qdiag.errors import InputError, OptionError

CLASSES = torch.tensor([2, 0, 1, 2, 1, 0])
MASKS = torch.tensor([[[0, 2], [1, 1]], [[2, 2], [0, 1]]])

FORMS: dict[str, Callable[[Tensor, int], Any]] = {
    "int64": lambda y, _: y,
    "int32": lambda y, _: y.int(),
    "uint8": lambda y, _: y.to(torch.uint8),
    "floats": lambda y, _: y.double(),
    "list": lambda y, _: y.tolist(),
    "list of tensors": lambda y, _: list(y),
    "list of arrays": lambda y, _: [item.numpy() for item in y],
    "tuple of integers": lambda y, _: tuple(y.tolist()),
    "numpy": lambda y, _: y.numpy(),
    "column": lambda y, _: y.unsqueeze(1),
    "one-hot integers": lambda y, c: nn.functional.one_hot(y, c).movedim(-1, 1),
    "one-hot truth values": lambda y, c: nn.functional.one_hot(y, c).movedim(-1, 1).bool(),
    "one-hot array": lambda y, c: nn.functional.one_hot(y, c).movedim(-1, 1).float().numpy(),
    "smoothed": lambda y, c: nn.functional.one_hot(y, c).movedim(-1, 1) * 0.9 + 0.1 / c,
}


def measured(output: Tensor, labels: Any, **options: Any) -> tuple[OutputError, float | None]:
    sums = OutputSums(1, **options)
    sums.update(Met(("",), (output,), ((output,),)), labels, len(output))
    return sums.error(0), sums.float_top1_percent


def logits(decided: Tensor, classes: int) -> Tensor:
    return 4.0 * nn.functional.one_hot(decided, classes).movedim(-1, 1) + 0.1


@pytest.mark.parametrize("form", FORMS)
def test_class_labels(form: str) -> None:
    decided = CLASSES.clone()
    decided[0] = 0  # one wrong of six
    found, right = measured(logits(decided, 3), FORMS[form](CLASSES, 3))
    assert right == pytest.approx(500 / 6)
    assert found.task == "classification"


@pytest.mark.parametrize("form", FORMS)
def test_masks(form: str) -> None:
    found, right = measured(logits(MASKS, 4), FORMS[form](MASKS, 4))
    assert right == 100.0
    assert found.task == "segmentation"
    assert found.miou_percent == pytest.approx(100.0)


@pytest.mark.parametrize(("low", "high"), [(-2.0, 2.0), (0.2, 0.9)], ids=["logits", "probabilities"])
def test_one_channel_for_two_classes(low: float, high: float) -> None:
    labels = torch.tensor([0, 1, 1, 0])
    output = torch.where(labels == 1, high, low).unsqueeze(1)
    assert measured(output, labels)[1] == 100.0
    assert measured(output.reshape(4, 1, 1, 1), labels.reshape(4, 1, 1))[1] == 100.0


def test_decisions_that_the_network_makes_itself() -> None:
    assert measured(CLASSES, CLASSES.tolist())[1] == 100.0
    assert measured(MASKS, MASKS)[1] == 100.0


def test_labels_beyond_the_classes_are_wrong_ones() -> None:
    found = OutputSums(1)
    output = logits(CLASSES, 3)
    found.update(Met(("",), (output,), ((output,),)), CLASSES + 1, 6)
    figures = found.float_figures
    assert figures is not None
    assert (figures.right, figures.highest_label, figures.shift) == (0.0, 3, 1)


def test_labels_below_zero_are_none() -> None:
    labels = CLASSES.clone()
    labels[:2] = -100
    assert measured(logits(CLASSES, 3), labels)[0].top1_percent == 100.0


def test_values_are_held_against_targets_of_their_shape() -> None:
    output = torch.tensor([[1.0, 2.0], [3.0, 4.5]])
    found = measured(output, torch.tensor([[1.5, 2.0], [3.0, 4.0]]))[0]
    assert found.task == "values"
    assert found.target_error == pytest.approx((0.25, 0.25))


UNUSABLE = {
    "strings": ["a", "b", "c", "d", "e", "f"],
    "a number": 7,
    "too few": [0, 1],
    "fractions": torch.full((6,), 0.5),
    "truth values for three classes": torch.zeros(6, dtype=torch.bool),
    "several at once": torch.ones(6, 3, dtype=torch.long),
    "boxes": [{"boxes": torch.zeros(1, 4), "labels": torch.zeros(1)}] * 6,
    "rows of different length": [[1, 2], [1], [2], [0], [0], [0]],
}


@pytest.mark.parametrize("labels", UNUSABLE.values(), ids=UNUSABLE)
def test_labels_that_cannot_be_used_are_no_silent_loss(labels: Any) -> None:
    output = logits(CLASSES, 3)
    with pytest.raises(InputError, match="does not fit the output") as error:
        measured(output, labels)
    assert error.value.code == "unusable-labels"
    assert measured(output, labels, task="values")[0].top1_percent is None  # the user's word
    assert measured(output, labels, labels_decide=False)[0].top1_percent is None  # or the user's own figure


def test_masks_of_another_size_are_no_labels() -> None:
    with pytest.raises(InputError, match=r"(?s)\[2, 4, 4\].*\[2, 4, 2, 2\].*unusable-labels"):
        measured(logits(MASKS, 4), torch.zeros(2, 4, 4, dtype=torch.long))


def test_the_user_s_word() -> None:
    images = torch.randn(24, 3, 6, 6)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 4)).eval()
    said = compare(net, images, (8,), task="classification").outputs["8-bit"]
    assert said.task == "classification"
    assert said.agreement_interval is not None
    assert compare(net, images, (8,)).outputs["8-bit"].task == "values"
    with pytest.raises(InputError, match="no output holds classes"):
        compare(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(0)).eval(), images, (8,), task="segmentation")
    with pytest.raises(OptionError, match="it is one of 'classification'"):
        compare(net, images, task="ranking")  # type: ignore[arg-type]
