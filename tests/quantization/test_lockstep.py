"""Several versions of one forward side by side: none disturbs another."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.comparison.compare import compare
from qdiag.errors import ModelError, QdiagWarning
from qdiag.planning.plan_quantization import plan_quantization
from qdiag.quantization.interpreter import Interpreter
from qdiag.quantization.lockstep import Lockstep
from qdiag.tracing.borrowing import borrow
from qdiag.tracing.inputs import Inputs, named_leaves
from qdiag.tracing.tracer import trace
from tests.models import IMAGE, ZOO, Small, Specimen, calibrate

every_specimen = pytest.mark.parametrize("specimen", ZOO.values(), ids=ZOO.keys())


def lockstep(model: nn.Module, inputs: Inputs, *bits: Any) -> Lockstep:
    """The float network and one lane for each entry of bits, with ranges of these inputs."""
    reference = Interpreter.in_float(model, plan_quantization(trace(model, inputs), None))
    return Lockstep(
        reference, [calibrate(model, inputs, bits=b).interpreter for b in bits], lambda *_: None, added=True
    )


@every_specimen
def test_the_user_sees_the_float_network(specimen: Specimen) -> None:
    model, inputs = specimen.model(), Inputs(*specimen.inputs())
    beside = lockstep(model, inputs, 4)
    with borrow(model):
        expected = named_leaves(model(*inputs.map(torch.clone).args))
        found = named_leaves(beside.run(inputs))
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, tensor), (_, other) in zip(found, expected, strict=True):
        torch.testing.assert_close(tensor, other, rtol=1e-4, atol=1e-4)  # merged BatchNorms round otherwise


@every_specimen
def test_a_lane_is_the_same_alone_and_beside_others(specimen: Specimen) -> None:
    model, inputs = specimen.model(), Inputs(*specimen.inputs())
    alone, together = lockstep(model, inputs, 8), lockstep(model, inputs, 4, 8, 16)
    with borrow(model):
        first = [alone.twin(tensor, 0).clone() for _, tensor in named_leaves(alone.run(inputs))]
        second = [together.twin(tensor, 1) for _, tensor in named_leaves(together.run(inputs))]
    torch.testing.assert_close(second, first, rtol=0, atol=0)


@every_specimen
def test_a_lane_without_formats_is_the_float_network(specimen: Specimen) -> None:
    model, inputs = specimen.model(), Inputs(*specimen.inputs())
    beside = lockstep(model, inputs, None)
    with borrow(model):
        for _, tensor in named_leaves(beside.run(inputs)):
            assert beside.twin(tensor, 0) is tensor  # and nothing was computed twice


def test_a_lane_is_shared_until_it_differs() -> None:
    model, inputs = Small().eval(), Inputs(torch.randn(IMAGE))
    met: dict[str, bool] = {}
    reference = Interpreter.in_float(model, plan_quantization(trace(model, inputs), None))
    quantized = calibrate(model, inputs, bits={"pool": 8, "*": None})
    beside = Lockstep(
        reference,
        [quantized.interpreter],
        lambda layer, value, twins, _: met.update({str(layer.site): twins[0] is value}),
        added=False,
    )
    with borrow(model):
        beside.run(inputs)
    same = {":input": True, "conv1": True, "conv2": True, ":add": True}
    assert met == {**same, "pool": False, "head": False}


class Overwrites(nn.Module):
    """Writes in place to tensors that lanes without a format still share with the float network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        kept = x * 2
        x.add_(1).mul_(0.5)
        F.relu(x, inplace=True)
        F.hardtanh(x, -1.0, 1.0, True)
        x += self.head(x).mean()
        torch.add(x, kept, out=kept)
        kept[:, :4] = x[:, 4:]
        return self.head(kept)


@pytest.mark.parametrize("first", ["conv", ":mul", ":add", ":add#1", "head"])
def test_in_place_operations_on_shared_tensors_leave_the_float_network_alone(first: str) -> None:
    model, inputs = Overwrites().eval(), Inputs(torch.randn(IMAGE))
    quantized = calibrate(model, inputs, bits={first: 8, "*": None})
    with borrow(model):
        expected = model(*inputs.map(torch.clone).args)
        beside = Lockstep(
            Interpreter.in_float(model, plan_quantization(trace(model, inputs), None)),
            [quantized.interpreter],
            lambda *_: None,
            added=True,
        )
        result = beside.run(inputs)
        own = quantized(*inputs.args)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(beside.twin(result, 0), own, rtol=1e-5, atol=1e-6)
    assert float((own - expected).norm() / expected.norm()) > 1e-4


class Drawing(nn.Module):
    """Draws at random in eval mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.conv(x), 0.5, training=True)
        return x + torch.randn_like(x) + torch.rand(1)


def test_all_lanes_draw_the_same() -> None:
    comparison = compare(Drawing(), torch.randn(IMAGE))
    assert comparison.outputs["16-bit"].relative_error < 1e-3


def test_every_forward_draws_anew() -> None:
    model, inputs = Drawing(), Inputs(torch.randn(IMAGE))
    beside = lockstep(model, inputs, 8)
    with borrow(model):
        assert not torch.equal(beside.run(inputs), beside.run(inputs))


class Detour(nn.Module):
    """Goes through NumPy, where nobody can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.from_numpy(2 * self.conv(x).numpy()))


def test_layers_behind_a_detour_are_still_quantized_and_the_break_is_said() -> None:
    comparison = compare(Detour(), torch.randn(IMAGE))
    assert 1e-3 < comparison.outputs["8-bit"].relative_error < 0.1
    assert [site for site, _ in comparison.floating] == ["head"]
    assert "cannot be followed" in comparison.floating[0][1]


class Questions(nn.Module):
    """Asks about the convolution's result before the BatchNorm takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        assert x.type() == "torch.FloatTensor"
        assert x.nelement() == len(x) * x[0].numel()
        assert not torch.equal(x, x.new_zeros(()))
        x.tolist(), x.numpy()
        return self.bn(x)


def test_questions_about_a_tensor_are_no_other_way() -> None:
    assert compare(Questions().eval(), torch.randn(IMAGE)).outputs["16-bit"].relative_error < 1e-3


class Skipping(nn.Module):
    """Leaves its BatchNorm out for dark images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.extra = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, bright = self.conv(x), bool(x.sum() > 0)
        return self.bn(x) if bright else self.extra(x)


BRIGHT, DARK = torch.ones(IMAGE) + torch.rand(IMAGE), -torch.ones(IMAGE)


def test_a_way_that_splits_a_merged_layer_is_an_error() -> None:
    with pytest.raises(
        ModelError, match="the result of 'conv' went to 'extra', while in the trace it went to 'bn' alone"
    ):
        compare(Skipping().eval(), [BRIGHT, DARK])


def test_layers_that_no_trace_saw_are_in_float_and_listed() -> None:
    specimen = ZOO["branch on the data"]
    with pytest.warns(QdiagWarning, match=r"1 operation\(s\) ran that did not run when the model was traced.*: dark"):
        comparison = compare(specimen.model(), [BRIGHT, DARK])
    assert "dark" in dict(comparison.floating)
