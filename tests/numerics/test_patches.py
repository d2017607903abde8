"""Patches times the weight are the convolution's output."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from qdiag.numerics.patches import convolution_padding, each, patches

OPTIONS: list[tuple[int, dict[str, Any]]] = [
    (1, {}),
    (1, {"stride": 2, "padding": 1, "dilation": 2}),
    (2, {"padding": "same", "dilation": (1, 2)}),
    (2, {"stride": (2, 1), "padding": (0, 2)}),
    (2, {"padding": "valid", "stride": 3}),
    (3, {"padding": 1, "stride": [2]}),
]


@pytest.mark.parametrize(("dims", "options"), OPTIONS, ids=str)
def test_patches_times_the_weight_are_the_output(dims: int, options: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *(9, 8, 7)[:dims], generator=generator)
    weight = torch.randn(4, 3, *(3, 2, 3)[:dims], generator=generator)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    expected = convolve(x, weight, **options)
    sizes = (2, *expected.shape[2:])
    positions = torch.stack(torch.unravel_index(torch.arange(expected[:, 0].numel()), sizes), 1)
    kernel = tuple(weight.shape[2:])
    stride, dilation = (each(options.get(name, 1), dims) for name in ("stride", "dilation"))
    padding = convolution_padding(options.get("padding", 0), kernel, dilation)
    found = patches(x, positions, kernel, stride, padding, dilation).flatten(1) @ weight.flatten(1).T
    torch.testing.assert_close(found, expected.movedim(1, -1).flatten(0, -2), rtol=1e-4, atol=1e-5)
