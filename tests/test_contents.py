"""A tensor's contents are its type, its shape and its values in their order."""

import pytest
import torch
from torch import Tensor, nn

from qdiag.contents import contents_of
from qdiag.quantization.calibrate import calibrate

GRID = torch.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    "other",
    [
        GRID.flip(0),
        GRID.flip(1),
        GRID.reshape(4, 3),
        GRID.double(),
        GRID.to(torch.bfloat16),
        -GRID,
        GRID + torch.eye(3, 4) * 1e-7,
        GRID[:0],
    ],
    ids=["rows turned", "columns turned", "shape", "double", "bfloat16", "signs", "one bit", "empty"],
)
def test_another_tensor_has_other_contents(other: Tensor) -> None:
    assert contents_of(other) != contents_of(GRID)


def test_contents_do_not_depend_on_where_values_lie() -> None:
    image = torch.rand(2, 3, 4, 4)
    assert contents_of(image) == contents_of(image.to(memory_format=torch.channels_last))
    assert contents_of(image) == contents_of(image.repeat(1, 2, 1, 1)[:, :3])
    assert contents_of(image) == contents_of(nn.Parameter(image))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.complex64])
def test_every_type_has_contents(dtype: torch.dtype) -> None:
    assert contents_of(torch.ones((), dtype=dtype)) != contents_of(torch.zeros((), dtype=dtype))


def test_weights_that_only_moved_are_quantized_anew() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3)).eval()
    images = torch.rand(4, 3, 12, 12)
    quantized = calibrate(model, images, "simple")
    before = quantized(images)
    weight: Tensor = model[0].weight  # type: ignore[assignment]
    weight.data.copy_(weight.data[:, [2, 1, 0]].clone())  # past autograd's count of versions
    assert not torch.equal(quantized(images), before)
