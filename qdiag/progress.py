"""Long work as a generator of `Progress`, and one way to run it with a bar."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Progress:
    """How far a run has come: `done` of `total` steps (None where the end is not known) of the part named `label`.

    values: what a curve is drawn of, by name, as loss and top1_percent; a bar shows them beside it.
    """

    label: str
    done: int
    total: int | None
    values: Mapping[str, float] = field(default_factory=dict, hash=False)

    @staticmethod
    def over(items: Iterable[Item], label: str) -> Iterator[tuple["Progress", Item]]:
        """Each item with the progress that finishing it makes."""
        try:
            total = len(items)  # type: ignore[arg-type]
        except TypeError:  # an iterable data set does not know its length
            total = None
        for number, item in enumerate(items, start=1):
            yield Progress(label, number, total), item


Steps = Generator[Progress, None, T]
OnProgress = Callable[[Progress], None] | None

_LISTENER: ContextVar[Callable[[Progress], None]] = ContextVar("listener", default=lambda _: None)


class Stopped(BaseException):
    """Raised by a listener to end a long step; like KeyboardInterrupt no `except Exception` holds it up."""


def report(progress: Progress) -> None:
    """Tell how far a step is that cannot be left half way, and go on, unless the listener raises `Stopped`."""
    _LISTENER.get()(progress)


@contextmanager
def listening(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Whatever is reported inside goes to the listener."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def run(steps: Steps[T], on_progress: OnProgress = None) -> T:
    """Run the work to its end and return its value.

    on_progress: called after every step; without it, a bar appears for parts that take over two seconds.
    """
    bar: Any = None

    def show(progress: Progress) -> None:
        nonlocal bar
        if on_progress is not None:
            on_progress(progress)
            return
        if bar is None or bar.desc.removesuffix(": ") != progress.label:
            if bar is not None:
                bar.close()
            bar = tqdm(desc=progress.label, total=progress.total, delay=2, unit="step", leave=False)
        if progress.values:
            bar.set_postfix({name: f"{value:.4g}" for name, value in progress.values.items()}, refresh=False)
        bar.update(progress.done - bar.n)

    try:
        with listening(show):
            while True:
                show(next(steps))
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()  # now, and not when it is collected: it may have something to save
        if bar is not None:
            bar.close()
