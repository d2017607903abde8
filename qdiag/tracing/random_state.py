"""The random generators that a forward or a data set may draw from, kept as they were where work drew."""

import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """States of torch's generators (CPU and every CUDA device in use), NumPy's and Python's."""

    cpu: Tensor
    cuda: list[Tensor]
    numpy: dict[str, Any]
    python: tuple[Any, ...]

    @classmethod
    def now(cls) -> "RandomState":
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(torch.get_rng_state(), cuda, np.random.get_state(legacy=False), random.getstate())

    def restore(self) -> None:
        """Set those generators that are not in this state; the others are not touched."""
        now = RandomState.now()
        if not torch.equal(now.cpu, self.cpu):
            torch.set_rng_state(self.cpu)
        if self.cuda and not _same_tensors(now.cuda, self.cuda):
            torch.cuda.set_rng_state_all(self.cuda)
        if not _same_numpy(now.numpy, self.numpy):
            np.random.set_state(self.numpy)
        if now.python != self.python:
            random.setstate(self.python)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RandomState)
            and torch.equal(self.cpu, other.cpu)
            and _same_tensors(self.cuda, other.cuda)
            and _same_numpy(self.numpy, other.numpy)
            and self.python == other.python
        )

    __hash__ = None  # type: ignore[assignment]


def _same_tensors(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def _same_numpy(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Of the states of MT19937, which NumPy's own generator is unless somebody exchanged it."""
    return str(one) == str(other) if "key" not in one.get("state", {}) else _flat(one) == _flat(other)


def _flat(state: dict[str, Any]) -> tuple[Any, ...]:
    inner = state["state"]
    return inner["key"].tobytes(), inner["pos"], state["has_gauss"], state["gauss"]


@contextmanager
def kept_random_state(*, seeded: bool = False) -> Iterator[None]:
    """Whatever is drawn inside, those outside will draw what they would have drawn anyway.

    The generators are every thread's. Where another thread ran the user's code meanwhile, and numbers were drawn, these
    may be that one's: they are not given a second time, and the generators go on from where they are.

    seeded: the work seeds the generators itself, at once, so that what anybody draws meanwhile is another sequence.
    """
    draws = Draws()
    try:
        yield
    finally:
        if seeded:
            draws.before.restore()
        else:
            draws.again()


class Draws:
    """What was drawn since this was made.

    before: the generators' states then.
    """

    def __init__(self) -> None:
        self.others = _Others()
        self.before = RandomState.now()

    def again(self) -> None:
        """What is drawn next is what was drawn since, where that was not another thread's."""
        if self.are_ours:
            self.before.restore()

    @property
    def are_ours(self) -> bool:
        """True where numbers were drawn, and no other thread can have drawn them."""
        return RandomState.now() != self.before and not self.others.ran


class _Others:
    """The threads beside this one, which may draw from the same generators."""

    def __init__(self) -> None:
        self.clocks = {thread.ident: _clock(thread) for thread in _others()}

    @property
    def ran(self) -> bool:
        """True where one of them may have run code of the user's since."""
        frames = sys._current_frames()
        for thread in _others():
            before, now = self.clocks.get(thread.ident), _clock(thread)
            if before is not None and before == now:
                continue
            if thread is threading.main_thread() or _is_users(frames.get(thread.ident or 0)):
                return True
        return False


def _others() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread is not threading.current_thread()]


def _clock(thread: threading.Thread) -> int | None:
    """Nanoseconds of processor time that a thread has taken; None where the system does not tell."""
    if sys.platform != "linux" or thread.native_id is None:
        return None
    try:
        return time.clock_gettime_ns(~thread.native_id << 3 | 6)  # how Linux numbers a thread's own clock
    except OSError:  # it has ended
        return None


def _is_users(frame: FrameType | None) -> bool:
    """True where a thread is in code that is neither Python's own nor a package's, as that of helpers' threads is."""
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_INSTALLED) and "-packages" not in name:
            return True
        frame = frame.f_back
    return False


_INSTALLED = (str(sys.base_prefix), str(sys.prefix), "<frozen")
