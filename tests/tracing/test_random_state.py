"""Random numbers of other threads are not given twice, and those of a single one come back as they were."""

import random
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qdiag.comparison.compare import compare
from qdiag.tracing.random_state import Draws, RandomState, kept_random_state
from tests.models import calibrate

DRAWS: dict[str, Callable[[], object]] = {
    "torch": lambda: torch.rand(3),
    "numpy": lambda: np.random.rand(),
    "numpy's second normal": lambda: np.random.randn(),
    "python": lambda: random.random(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_what_is_drawn_inside_is_drawn_again_outside(draw: Callable[[], object]) -> None:
    before = RandomState.now()
    with kept_random_state():
        first = draw()
        assert RandomState.now() != before
    assert RandomState.now() == before
    assert str(draw()) == str(first)


def test_generators_that_nobody_drew_from_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    state = random.getstate()
    monkeypatch.setattr(torch, "set_rng_state", lambda _: pytest.fail("set"))
    monkeypatch.setattr(np.random, "set_state", lambda _: pytest.fail("set"))
    with kept_random_state():
        random.random()
    assert random.getstate() == state


class Other:
    """Another thread, which draws when it is told."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, ...]] = []
        self.told, self.done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while self.told.acquire():
            self.drawn.append((float(torch.rand(1, dtype=torch.float64)), np.random.rand(), random.random()))
            self.done.release()

    def draw(self) -> None:
        self.told.release()
        self.done.acquire()


def test_what_another_thread_drew_is_not_drawn_again() -> None:
    other = Other()
    other.draw()
    with kept_random_state():
        other.draw()
    other.draw()
    assert all(len(set(numbers)) == 3 for numbers in zip(*other.drawn, strict=True))


def test_a_thread_that_waits_is_no_reason_to_let_numbers_go_on() -> None:
    Other().draw()
    before = RandomState.now()
    with kept_random_state():
        torch.rand(1)
    assert RandomState.now() == before
    draws = Draws()
    assert not draws.are_ours


def test_numbers_drawn_in_a_cell_while_work_runs_in_a_thread_are_new() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.3), nn.Conv2d(8, 4, 3)).eval()
    images: Tensor = torch.randn(16, 3, 16, 16)

    def work() -> None:
        compare(model, images, quantized={"8-bit": calibrate(model, images)})

    thread = threading.Thread(target=work)
    thread.start()
    drawn: list[tuple[float, ...]] = []
    while thread.is_alive():
        drawn.append((float(torch.rand(1, dtype=torch.float64)), np.random.rand(), random.random()))
        thread.join(0.001)
    assert all(len(set(numbers)) == len(drawn) for numbers in zip(*drawn, strict=True))
