"""What a model is called with: one batch in any form, or a data set in any form."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from qdiag.errors import InputError
from qdiag.tracing.batches import Batch, batches
from qdiag.tracing.inputs import Inputs

MODEL = nn.Conv2d(3, 4, 1)
IMAGES = torch.arange(20.0).reshape(20, 1, 1, 1).expand(20, 3, 4, 4).contiguous()
LABELS = torch.arange(20)


class TwoArguments(nn.Module):
    """Needs an image and a depth map."""

    def forward(self, image: Tensor, depth: Tensor, scale: float = 1.0) -> Tensor:
        return image + depth * scale


def sizes(data: Any, model: nn.Module = MODEL) -> list[int]:
    return [batch.inputs.batch_size for batch in batches(data, model)]


def only(batch: Batch) -> Tensor:
    """The one tensor of a batch."""
    ((_, tensor),) = batch.inputs.tensors()
    return tensor


class Counted(Dataset[tuple[Tensor, int]]):
    """Images with labels, by index."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index >= 20:
            raise IndexError
        return IMAGES[index], index


class Streamed(IterableDataset[tuple[Tensor, int]]):
    """The same, one after the other, of unknown number."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        yield from zip(IMAGES, range(20), strict=True)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (IMAGES, [16, 4]),
        (list(IMAGES.split(8)), [8, 8, 4]),
        (tuple(IMAGES.split(10)), [10, 10]),
        ([(IMAGES, LABELS)], [20]),
        ([[IMAGES, LABELS]], [20]),
        ([(IMAGES,)], [20]),
        ([{"input": IMAGES}], [20]),
        ({"input": IMAGES}, [20]),
        (Inputs(IMAGES), [20]),
        (TensorDataset(IMAGES, LABELS), [16, 4]),
        (TensorDataset(IMAGES), [16, 4]),
        (Counted(), [16, 4]),
        (Streamed(), [16, 4]),
        (DataLoader(Counted(), batch_size=5), [5, 5, 5, 5]),
        (DataLoader(Streamed(), batch_size=8), [8, 8, 4]),
    ],
    ids=[
        *("tensor", "list", "tuple", "pairs", "lists of two", "single tuples", "dicts", "dict", "Inputs"),
        *(
            "TensorDataset",
            "TensorDataset without labels",
            "Dataset",
            "IterableDataset",
            "DataLoader",
            "DataLoader of a stream",
        ),
    ],
)
def test_every_form_of_data_gives_all_its_images_twice(data: Any, expected: list[int]) -> None:
    found = batches(data, MODEL)
    for _ in range(2):
        given = [batch.inputs for batch in found]
        assert [inputs.batch_size for inputs in given] == expected
        torch.testing.assert_close(torch.cat([inputs.tensors()[0][1] for inputs in given]), IMAGES)


@pytest.mark.parametrize("data", [[(IMAGES, LABELS)], TensorDataset(IMAGES, LABELS), Counted(), Streamed()])
def test_the_second_of_a_pair_are_targets(data: Any) -> None:
    targets = torch.cat([batch.targets for batch in batches(data, MODEL)])
    assert targets.tolist() == list(range(20))


def test_a_model_of_two_arguments_takes_both_of_a_pair_and_the_third_is_targets() -> None:
    pair = batches([(IMAGES, IMAGES)], TwoArguments()).first
    assert ([name for name, _ in pair.inputs.tensors()], pair.targets) == (["input", "input1"], None)
    triple = batches([(IMAGES, IMAGES, LABELS)], TwoArguments()).first
    assert len(triple.inputs.args) == 2
    assert triple.targets is LABELS


def test_a_list_of_images_of_different_sizes_is_one_argument() -> None:
    images = [torch.zeros(3, 8, 8), torch.zeros(3, 6, 10)]
    batch = batches([images], MODEL).first
    assert batch.inputs.args == (images,)
    assert batch.inputs.batch_size == 2
    assert batch.split(1) == [batch]  # it is not plain how to take it apart


def test_images_with_a_list_of_targets_are_a_pair() -> None:
    images, targets = [torch.zeros(3, 8, 8)] * 3, [{"boxes": torch.zeros(1, 4)}] * 3
    batch = batches([(images, targets)], MODEL).first
    assert batch.inputs.args == (images,)
    assert batch.targets is targets


def test_a_batch_is_split_with_its_targets() -> None:
    parts = Batch(Inputs(IMAGES), LABELS).split(8)
    assert [len(only(part)) for part in parts] == [8, 8, 4]
    assert torch.cat([part.targets for part in parts]).tolist() == list(range(20))


def test_a_batch_with_a_tensor_for_all_images_is_not_split() -> None:
    batch = Batch(Inputs(IMAGES, torch.zeros(1, 3, 4, 4)))
    assert batch.split(8) == [batch]


def test_two_images_are_an_example() -> None:
    assert batches(IMAGES, MODEL).example.batch_size == 2
    assert batches(DataLoader(Counted(), batch_size=1), MODEL).example.batch_size == 1


def test_a_named_tuple_is_one_argument() -> None:
    class Sample(NamedTuple):
        image: Tensor
        mask: Tensor

    sample = Sample(IMAGES, LABELS)
    assert Inputs.of(sample, MODEL).args == (sample,)
    assert [name for name, _ in Inputs.of(sample, MODEL).tensors()] == ["input.image", "input.mask"]


def test_inputs_go_to_the_type_and_place_where_they_are() -> None:
    inputs = Inputs(IMAGES, labels=LABELS, flag=True)
    assert inputs.describe() == "input: float32[20, 3, 4, 4], labels: int64[20]"
    doubled = inputs.map(lambda tensor: tensor * 2)
    assert torch.equal(doubled.args[0], IMAGES * 2)
    assert torch.equal(doubled.kwargs["labels"], LABELS * 2)
    assert doubled.kwargs["flag"] is True


NOTHING = TensorDataset(torch.zeros(0, 3, 4, 4))


@pytest.mark.parametrize("data", [[], torch.zeros(0, 3, 4, 4), NOTHING, DataLoader(NOTHING)])
def test_no_data_is_an_error(data: Any) -> None:
    with pytest.raises(InputError, match=r"empty|no image"):
        _ = batches(data, MODEL).first


@pytest.mark.parametrize(
    "data", [iter([IMAGES]), (x for x in [IMAGES]), map(torch.neg, [IMAGES]), iter(DataLoader(Counted()))]
)
def test_what_can_be_read_once_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match=r"(?s)the DataLoader itself.*data-read-once"):
        batches(data, MODEL)


@pytest.mark.parametrize("data", [3, None, MODEL, object()], ids=["int", "None", "module", "object"])
def test_what_is_no_data_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match=r"(?s)the data is a \w+\. .*data-type"):
        batches(data, MODEL)


@pytest.mark.parametrize(("most_values", "images"), [(10**9, 20), (48 * 13, 13), (48 * 8, 8), (1, 1)])
def test_images_are_joined_up_to_so_many_values(most_values: int, images: int) -> None:
    joined = batches(list(IMAGES.split(8)), MODEL).joined(most_values)
    assert torch.equal(joined.args[0], IMAGES[:images])


def test_images_of_another_size_are_not_joined() -> None:
    joined = batches([IMAGES[:4], torch.zeros(4, 3, 5, 5), IMAGES[4:6]], MODEL).joined(10**9)
    assert torch.equal(joined.args[0], IMAGES[:6])


def test_arguments_are_joined_one_by_one() -> None:
    pairs = [{"image": IMAGES[i : i + 2], "depth": IMAGES[i : i + 2] + 1} for i in range(0, 6, 2)]
    joined = batches(pairs, TwoArguments()).joined(10**9)
    assert torch.equal(joined.kwargs["depth"], IMAGES[:6] + 1)


def test_what_does_not_count_images_is_taken_as_it_is() -> None:
    joined = batches([{"image": IMAGES[:2], "depth": IMAGES[:2], "scale": 2.0}] * 3, TwoArguments()).joined(10**9)
    assert joined.batch_size == 2


@pytest.mark.parametrize("where", [0, 1])
def test_an_empty_batch_is_named(where: int) -> None:
    given = [IMAGES, IMAGES]
    given[where] = IMAGES[:0]
    with pytest.raises(InputError, match=f"batch {where} of the data holds no image") as raised:
        sizes(given)
    assert raised.value.code == "empty-data"
