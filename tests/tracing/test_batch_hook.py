"""`batch=`: loaders of dicts, of (index, x, y) and (x, y, weight) go through every verb that judges."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from qdiag import Subject, calibrate, compare, diagnose, lint_model
from qdiag.errors import InputError, ModelError
from qdiag.workbench.session import Session


class Dicts(Dataset[dict[str, Tensor]]):
    """Images and labels by name, as many libraries give them."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        image = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(number))
        return {"pixel_values": image, "labels": torch.tensor(number % 5)}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


def pairs(loader: DataLoader[Any]) -> list[tuple[Tensor, Tensor]]:
    return [(each["pixel_values"], each["labels"]) for each in loader]


def by_name(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return batch["pixel_values"], batch["labels"]


def test_dicts_are_judged_as_pairs_are(model: nn.Module) -> None:
    loader = DataLoader(Dicts(), batch_size=16)
    expected = compare(model, pairs(loader)).outputs["8-bit"]
    assert expected.top1_percent is not None
    assert compare(model, loader, batch=by_name).outputs["8-bit"] == expected
    assert compare(model, Dicts(), batch=by_name).outputs["8-bit"].top1_percent == expected.top1_percent
    assert diagnose(model, loader, batch=by_name).comparison.outputs["8-bit"] == expected
    session = Session(model, loader, batch=by_name, folder=None)
    assert session.diagnose().comparison.outputs["8-bit"] == expected
    subject = Subject(model, loader, batch=by_name)
    assert calibrate(subject, method="simple").calibration == calibrate(model, pairs(loader), "simple").calibration
    assert len(lint_model(subject).findings) == len(lint_model(model, pairs(loader)[0][0]).findings)


@pytest.mark.parametrize(("order", "batch"), [("nxy", (1, 2)), ("xyw", (0, 1))])
def test_a_batch_of_three_parts(order: str, batch: tuple[int, int], model: nn.Module) -> None:
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 5
    parts = {"x": images, "y": labels, "n": torch.arange(8), "w": torch.ones(8)}
    data = [tuple(parts[name] for name in order)]
    found = compare(model, data, batch=lambda given: tuple(given[place] for place in batch))
    assert found.float_top1_percent == compare(model, [(images, labels)]).float_top1_percent
    with pytest.raises(ModelError) as raised:
        compare(model, data)
    assert f"batch=lambda batch: (batch[{batch[0]}], batch[{batch[1]}])" in str(raised.value)


def test_the_error_for_a_dict_that_does_not_fit_names_the_way(model: nn.Module) -> None:
    with pytest.raises(ModelError) as raised:
        diagnose(model, DataLoader(Dicts(), batch_size=16))
    assert "batch=lambda batch: (batch['pixel_values'], batch['labels'])" in str(raised.value)


def test_a_hook_that_raises_says_what_it_was_given(model: nn.Module) -> None:
    with pytest.raises(InputError, match=r"batch=… raised KeyError: 'image'.*a dict of pixel_values, labels"):
        compare(model, DataLoader(Dicts()), batch=lambda batch: batch["image"])
