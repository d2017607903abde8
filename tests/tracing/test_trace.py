"""What a trace knows of values, edges, inputs and outputs."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import mobilenet_v2, resnet18

from qdiag.errors import ModelError
from qdiag.tracing.inputs import Inputs
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.trace import Call, Trace, Value
from qdiag.tracing.tracer import trace
from tests.models import IMAGE, ZOO, Branching, HiddenModules, InplaceSum, ManyOutputs, PlainAttribute


def line_of(text: str) -> int:
    """Where this file says something, for the first time."""
    lines = Path(__file__).read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def names(calls: tuple[Call, ...]) -> list[str]:
    return [str(call.site) for call in calls]


# Edges --------------------------------------------------------------------------------------------------


def test_consumers_and_producers_follow_the_data() -> None:
    traced = trace(InplaceSum(), torch.randn(IMAGE))
    relu = traced["relu1"]
    assert names(traced.consumers(relu.outputs[0])) == ["conv2", ":add"]
    addition = traced[":add"]
    assert [traced.producer(value) for value in addition.inputs] == [traced["bn2"], relu]
    assert traced.producer(traced.inputs[0]) is None
    assert names(traced.consumers(traced.inputs[0])) == ["conv1"]


def test_in_place_operations_make_a_new_value() -> None:
    traced = trace(InplaceSum(), torch.randn(IMAGE))
    addition, norm = traced[":add"], traced["bn2"]
    assert addition.in_place
    assert addition.outputs[0].number != norm.outputs[0].number
    assert names(traced.consumers(norm.outputs[0])) == [":add"]
    assert names(traced.consumers(addition.outputs[0])) == ["relu2"]
    assert traced["relu2"].in_place
    assert not norm.in_place


def test_a_value_that_is_written_to_in_a_loop_is_a_new_one_each_time() -> None:
    class Loop(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = torch.zeros_like(x)
            for _ in range(3):
                total += x
            return total

    traced = trace(Loop(), torch.ones(1, 3))
    assert names(traced.calls) == [":zeros_like", ":add", ":add#1", ":add#2"]
    assert traced.outputs[0][1].producer == traced[":add#2"].site


def test_splitting_gives_one_value_for_each_part() -> None:
    specimen = ZOO["chunk, split and cat"]
    traced = trace(specimen.model(), specimen.inputs())
    assert [value.shape[1] for value in traced[":split"].outputs] == [1, 3]
    assert [value.shape[1] for value in traced[":cat"].inputs] == [3, 1, 4]


# Values -------------------------------------------------------------------------------------------------


def test_parameters_buffers_constants_and_unseen_tensors_are_told_apart() -> None:
    class Kinds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.mean = nn.Parameter(torch.ones(3)), nn.Buffer(torch.ones(3))
            self.plain = torch.ones(3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x, self.weight, self.mean, self.plain, torch.ones(3)])

    inputs = trace(Kinds(), torch.ones(3))[":stack"].inputs
    assert [value.kind for value in inputs] == ["input", "parameter", "buffer", "unseen", "constant"]
    assert [value.name for value in inputs] == ["input", "weight", "mean", "", ""]


def test_arguments_are_known_by_name_however_they_were_given() -> None:
    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6, 1, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            first = F.conv2d(x, self.weight, None, 1, 0, 1, 3)
            second = F.conv2d(input=x, weight=self.weight, groups=3)
            return torch.clamp(first + second, 0, max=4)

    traced = trace(Calls(), torch.ones(1, 3, 4, 4))
    for name in (":conv2d", ":conv2d#1"):
        call = traced[name]
        assert call.arguments["groups"] == 3
        weight = call.tensor("weight")
        assert weight is not None
        assert weight.name == "weight"
        assert call.is_depthwise
    assert traced[":conv2d"].tensor("bias") is None
    assert {k: traced[":clamp"].arguments[k] for k in ("min", "max")} == {"min": 0, "max": 4}


def test_depthwise_convolutions_are_those_with_one_input_channel_for_each_group() -> None:
    traced = trace(mobilenet_v2(), torch.zeros(1, 3, 32, 32))
    convolutions = [call for call in traced.calls if call.kind is OperationKind.WEIGHTED]
    assert sum(call.is_depthwise for call in convolutions) == 17
    model = nn.Sequential(nn.ConvTranspose2d(4, 4, 2, groups=4), nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 1))
    calls = trace(model, torch.zeros(1, 4, 4, 4)).calls
    assert [call.is_depthwise for call in calls] == [True, False, False]


def test_shapes_and_types_are_recorded() -> None:
    traced = trace(resnet18(), torch.zeros(2, 3, 64, 64))
    assert traced["conv1"].outputs[0].shape == (2, 64, 32, 32)
    assert traced["fc"].outputs[0] == Value(
        traced["fc"].outputs[0].number, "computed", (2, 1000), torch.float32, "", traced["fc"].site
    )


# Inputs and outputs -------------------------------------------------------------------------------------


def test_outputs_are_named_by_their_place_in_the_result() -> None:
    traced = trace(ManyOutputs(), torch.randn(IMAGE))
    assert [name for name, _ in traced.outputs] == [
        *("[0].out", "[1].logits", "[1].features.stem", "[2].low", "[2].high"),
    ]
    assert [str(value.producer) for _, value in traced.outputs] == ["left", "right", ":relu", ":sigmoid", ":sigmoid#1"]
    assert traced.is_output(traced["left"].outputs[0])
    assert not traced.is_output(traced["stem"].outputs[0])


class Keywords(nn.Module):
    """Takes an image and options by name; a list, and a dict, of tensors too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: Tensor, mask: Tensor, scale: float = 1.0, extra: Any = None) -> "OrderedDict[str, Tensor]":
        x = self.conv(image) * mask * scale
        for tensor in (extra or {}).values():
            x = x + tensor
        return OrderedDict(out=x)


@pytest.mark.parametrize(
    "example",
    [
        {"image": torch.ones(1, 3, 4, 4), "mask": torch.ones(1, 1, 4, 4)},
        Inputs(torch.ones(1, 3, 4, 4), mask=torch.ones(1, 1, 4, 4), scale=0.5),
        (torch.ones(1, 3, 4, 4), torch.ones(1, 1, 4, 4)),
    ],
    ids=["dict", "Inputs", "tuple"],
)
def test_keyword_and_positional_arguments(example: Any) -> None:
    traced = trace(Keywords(), example)
    assert [value.shape for value in traced.inputs] == [(1, 3, 4, 4), (1, 1, 4, 4)]
    assert names(traced.calls)[:2] == ["conv", ":mul"]
    assert [name for name, _ in traced.outputs] == [".out"]


def test_tensors_inside_an_argument_are_inputs_with_a_path() -> None:
    extra = {"bias": torch.ones(1), "more": torch.ones(1)}
    traced = trace(Keywords(), Inputs(torch.ones(1, 3, 4, 4), torch.ones(1, 1, 4, 4), extra=extra))
    assert [value.name for value in traced.inputs] == ["input", "input1", "extra.bias", "extra.more"]


def test_a_dict_that_is_no_set_of_arguments_is_the_one_argument() -> None:
    class TakesDict(nn.Module):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return batch["a"] + batch["b"]

    traced = trace(TakesDict(), {"a": torch.ones(2), "b": torch.ones(2)})
    assert [value.name for value in traced.inputs] == ["input.a", "input.b"]


def test_the_branch_that_the_data_takes_is_traced() -> None:
    model = Branching()
    assert names(trace(model, torch.ones(IMAGE)).calls)[-1] == "bright"
    assert names(trace(model, -torch.ones(IMAGE)).calls)[-1] == "dark"


def test_uses_of_modules_are_in_the_order_of_their_calls() -> None:
    traced = trace(ZOO["head over a pyramid"].model(), torch.randn(IMAGE))
    assert [use.path for use in traced.uses] == ["stem", *(["head", "head.0", "head.1", "head.2"] * 3)]


# Sources ------------------------------------------------------------------------------------------------


class Placed(nn.Module):
    """Its lines are looked up in this file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)  # here the convolution
        x = F.relu(x)  # here the function
        x = self.inner(x)  # here the sequence
        return x + 1  # here the operator


def test_sources_are_the_users_own_lines() -> None:
    traced = trace(Placed(), torch.ones(1, 3, 4, 4))
    places = {"conv": "convolution", ":relu": "function", "inner.0": "sequence", "inner.1": "sequence"}
    for name, what in (places | {":add": "operator"}).items():
        source = traced[name].source
        assert source is not None
        assert (source.file, source.function) == (__file__, "forward")
        assert source.line == line_of(f"# here the {what}")
        assert str(source) == f"tracing/test_trace.py:{source.line}"


def test_a_model_of_torch_alone_has_no_source() -> None:
    assert trace(nn.Sequential(nn.Conv2d(3, 4, 1)), torch.ones(1, 3, 4, 4))["0"].source is None


def test_an_error_names_the_last_address_and_its_line() -> None:
    class Broken(Placed):
        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.conv(x)  # here it breaks

    expected = rf"raised RuntimeError at or after site 'conv#1' \(tracing/test_trace.py:{line_of('# here it breaks')}\)"
    with pytest.raises(ModelError, match=expected) as error:
        trace(Broken(), torch.ones(1, 3, 4, 4))
    assert isinstance(error.value.__cause__, RuntimeError)


# Threads ------------------------------------------------------------------------------------------------


def seen(traced: Trace) -> list[tuple[str, list[tuple[int, ...]]]]:
    return [(str(call.site), [value.shape for value in call.outputs]) for call in traced.calls]


@pytest.mark.parametrize("shared", [False, True], ids=["two models", "one model"])
def test_two_threads_trace_what_each_would_alone(shared: bool) -> None:
    first = resnet18().train()
    models = [first, first if shared else mobilenet_v2()]
    images = [torch.zeros(1, 3, 32, 32), torch.zeros(2, 3, 64, 64)]
    alone = [seen(trace(model, image)) for model, image in zip(models, images, strict=True)]
    together: list[list[Any]] = [[], []]
    start = threading.Barrier(2)

    def work(number: int) -> None:
        start.wait()
        for _ in range(5):
            together[number].append(seen(trace(models[number], images[number])))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [[alone[0]] * 5, [alone[1]] * 5]
    assert first.training


def test_another_threads_forward_is_not_seen() -> None:
    """A model that runs in another thread meanwhile, without qdiag, leaves no address and no path in the trace."""
    running, stop = resnet18().eval(), threading.Event()

    def run() -> None:
        while not stop.is_set():
            running(torch.zeros(1, 3, 32, 32))

    other = threading.Thread(target=run)
    other.start()
    try:
        assert names(trace(PlainAttribute(), torch.randn(IMAGE)).calls) == ["conv", ":add", "head"]
        assert names(trace(HiddenModules(), torch.randn(IMAGE)).calls) == ["stem", "<Conv2d>", "<Conv2d>#1"]
    finally:
        stop.set()
        other.join()
