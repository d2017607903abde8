"""Compensated rounding against plain rounding and against trying everything."""

import itertools

import torch
from torch import Tensor

from qdiag.numerics.gptq import BLOCK, Compensation, output_error


def gram_of(groups: int, inputs: int, seed: int = 0) -> Tensor:
    """Of inputs that depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(groups, 200, inputs, generator=generator, dtype=torch.float64)
    mixed = mixed + 2 * mixed[:, :, :1]
    return mixed.mT @ mixed / 200


def weight_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def error(weight: Tensor, rounded: Tensor, gram: Tensor) -> Tensor:
    """The definition: mean square of the error's product with inputs that have this gram."""
    root = torch.linalg.cholesky(gram)
    return ((rounded - weight) @ root).square().sum(2)


def test_output_error_is_the_mean_square_of_the_outputs_error() -> None:
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    difference = weight_of(1, 3, 4)
    outputs = x @ difference[0].T
    torch.testing.assert_close(output_error(difference, (x.T @ x / 500)[None])[0], outputs.square().mean(0))


def test_independent_inputs_are_rounded_to_the_nearest() -> None:
    gram = torch.diag_embed(torch.rand(3, 7, dtype=torch.float64) + 0.1)
    weight = weight_of(3, 5, 7)
    rounded = Compensation(gram).round(weight, torch.tensor(0.25), (-128, 127))
    torch.testing.assert_close(rounded, (weight / 0.25).round() * 0.25)


def test_dependent_inputs_make_up_for_each_other() -> None:
    gram, weight, step = gram_of(2, 3 * BLOCK // 2), weight_of(2, 8, 3 * BLOCK // 2), torch.tensor(0.5)
    rounded = Compensation(gram).round(weight, step, (-128, 127))
    nearest = (weight / step).round() * step
    assert float(error(weight, rounded, gram).sum()) < 0.5 * float(error(weight, nearest, gram).sum())


def test_little_is_left_to_gain_by_trying_everything() -> None:
    gram, weight = gram_of(1, 4), weight_of(1, 24, 4)
    found = error(weight, Compensation(gram).round(weight, torch.tensor(1.0), (-4, 3)), gram).mean()
    grid = torch.tensor(list(itertools.product(range(-4, 4), repeat=4)), dtype=torch.float64)
    best = torch.stack([error(row[None, None], grid[None], gram).min() for row in weight[0]]).mean()
    nearest = error(weight, weight.round().clamp(-4, 3), gram).mean()
    assert float(best) <= float(found) < 1.3 * float(best) < float(nearest)


def test_integers_stay_between_their_ends_each_on_its_own_grid() -> None:
    step = torch.tensor([[[1.0, 0.5, 0.25]], [[2.0, 1.0, 0.5]]], dtype=torch.float64)
    rounded = Compensation(gram_of(2, 3)).round(10 * weight_of(2, 6, 3), step, (-8, 7))
    integers = rounded / step
    assert torch.equal(integers, integers.round())
    assert (float(integers.min()), float(integers.max())) == (-8, 7)


def test_the_order_of_the_inputs_does_not_matter() -> None:
    gram, weight = gram_of(1, 6), weight_of(1, 4, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    step = torch.tensor(0.5)
    one = Compensation(gram).round(weight, step, (-128, 127))
    other = Compensation(gram[:, order][:, :, order]).round(weight[:, :, order], step, (-128, 127))
    assert torch.equal(one[:, :, order], other)
