"""Long work in a thread, and how it is stopped."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdiag.progress import Progress, Steps, Stopped, report
from qdiag.quantization.train_module import QuantTrainModule
from qdiag.workbench.forced_stop import ForcedStop
from qdiag.workbench.job import Job


class Heard:
    """A job, and what it told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.job = Job(self.told.append, lambda: self.told.append("stopped"), self.told.append)

    def finish(self, steps: Steps[Any]) -> None:
        self.job.start(steps, self.told.append)
        self.job.wait(60)


def test_progress_and_the_result_are_told() -> None:
    def steps() -> Steps[str]:
        yield Progress("working", 1, 1)
        return "result"

    heard = Heard()
    heard.finish(steps())
    assert heard.told == [Progress("working", 1, 1), "result"]


def test_an_exception_is_told() -> None:
    def steps() -> Steps[None]:
        yield Progress("working", 1, 2)
        raise ValueError("no")

    heard = Heard()
    heard.finish(steps())
    assert isinstance(heard.told[-1], ValueError)
    assert not heard.job.is_running


def test_work_that_tells_its_progress_is_stopped_there_and_may_save() -> None:
    saved = []

    def steps() -> Steps[None]:
        try:
            for number in range(10_000):
                yield Progress("working", number, None)
                time.sleep(0.01)
        except GeneratorExit:
            saved.append(torch.zeros(1).add(1).item())  # with torch, which the stop lets alone from then on
            raise

    heard = Heard()
    heard.job.start(steps(), heard.told.append)
    heard.job.stop()
    heard.job.wait(60)
    assert heard.told[-1] == "stopped"
    assert saved == [1.0]


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_a_step_of_torch_is_stopped_in_the_middle(part: str) -> None:
    weight = torch.ones(4, requires_grad=True)
    busy, cleaned = threading.Event(), []

    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            busy.set()
            time.sleep(0.01)
            return grad

    def steps() -> Steps[None]:
        yield Progress("working", 0, None)
        try:
            value = weight
            for _ in range(2000):
                value = (Slow.apply(value) if part == "backward" else value) * 1.0
                if part == "forward":
                    busy.set()
                    time.sleep(0.01)
            value.sum().backward()
        finally:
            cleaned.append(torch.ones(2).sum().item())

    heard = Heard()
    heard.job.start(steps(), heard.told.append)
    assert busy.wait(60)
    heard.job.stop()
    heard.job.wait(15)  # of the twenty seconds that it would take
    assert heard.told[-1] == "stopped"
    assert cleaned == [2.0]


def test_a_training_step_that_is_stopped_leaves_the_model_usable() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    images = torch.randn(2, 3, 8, 8)
    module = QuantTrainModule(model, images).train()
    forced_stop = ForcedStop()
    forced_stop.ask()
    time.sleep(0.3)
    with pytest.raises(Stopped), forced_stop:
        module(images)
    assert torch.overrides._get_current_function_mode() is None
    module(images).sum().backward()


def test_what_the_user_compiles_runs_inside() -> None:
    compiled = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), backend="eager")
    images = torch.randn(2, 4)
    with torch.no_grad(), ForcedStop():
        found = compiled(images)
    with torch.no_grad():
        assert torch.equal(found, compiled(images))


def test_reports_from_inside_a_step_stop_it_too() -> None:
    heard = Heard()
    begun = threading.Event()

    def steps() -> Steps[None]:
        yield Progress("working", 0, None)
        for number in range(10_000):
            begun.set()
            time.sleep(0.01)
            report(Progress("inside", number, None))

    heard.job.start(steps(), heard.told.append)
    assert begun.wait(60)
    heard.job.stop()
    heard.job.wait(15)
    assert heard.told[-1] == "stopped"


def test_what_is_started_while_the_end_is_told_waits_for_it() -> None:
    told: list[object] = []

    def steps(name: str) -> Steps[str]:
        yield Progress(name, 1, 1)
        return name

    def tell(name: object) -> None:
        ended.set()
        time.sleep(0.2)
        told.append(name)

    ended = threading.Event()
    job = Job(lambda _: None, lambda: None, told.append)
    assert job.start(steps("first"), tell)
    assert ended.wait(60)
    assert job.start(steps("second"), tell)
    job.wait(60)
    assert told == ["first", "second"]


def test_one_piece_of_work_at_a_time_and_another_after_a_stop() -> None:
    heard = Heard()
    forever = threading.Event()

    def first() -> Iterator[Progress]:
        yield Progress("first", 0, None)
        while not forever.wait(0.01):
            yield Progress("first", 0, None)

    def second() -> Steps[str]:
        yield Progress("second", 1, 1)
        return torch.ones(1).item().__repr__()

    heard.job.start(first(), heard.told.append)  # type: ignore[arg-type]
    assert not heard.job.start(second(), heard.told.append)
    heard.job.stop()
    heard.job.stop()
    heard.job.wait(60)
    heard.finish(second())
    assert heard.told[-1] == "1.0"
