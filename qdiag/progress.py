"""Long work as a generator of `Progress`, and one way to run it with a bar."""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import Parameter, signature
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from tqdm.auto import tqdm

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
Item = TypeVar("Item")
Owner = TypeVar("Owner")


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


def listener() -> Callable[[Progress], None]:
    """Who hears what is reported."""
    return _LISTENER.get()


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


class LongWork(Generic[P, T]):
    """Long work with two ways to run it: a call returns its result, `steps` gives its events one by one.

    Made by `long_work` from a generator function. Called, it shows a bar for parts that take over two seconds, or tells
    `on_progress`. `steps` takes the same arguments and returns the generator, whose value is the result: whoever runs
    it may stop between two events, and `on_progress` is left to them.
    """

    def __init__(self, function: Callable[P, Steps[T]], run: Callable[[Steps[T], OnProgress], T]):
        functools.update_wrapper(self, function)
        self.steps, self._run = function, run

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        on_progress: Any = kwargs.get("on_progress")
        return self._run(self.steps(*args, **kwargs), on_progress)

    @overload
    def __get__(self, instance: None, owner: type) -> "LongWork[P, T]": ...

    @overload
    def __get__(
        self: "LongWork[Concatenate[Owner, Q], T]", instance: Owner, owner: type | None = None
    ) -> "LongWork[Q, T]": ...

    def __get__(self, instance: Any, owner: type | None = None) -> "LongWork[..., T]":
        """The work of a method, bound to its object."""
        return self if instance is None else LongWork(MethodType(self.steps, instance), self._run)


def long_work(function: Callable[P, Steps[T]]) -> LongWork[P, T]:
    """Make a generator function of Progress a plain function too.

    The function has a parameter `on_progress`, given by keyword alone, which a call uses and the generator does not.
    Raises TypeError for a function that has none, or takes it by position.

    >>> @long_work
    ... def add(numbers: list[int], *, on_progress: OnProgress = None) -> Steps[int]:
    ...     total = 0
    ...     for progress, number in Progress.over(numbers, "adding"):
    ...         total += number
    ...         yield progress
    ...     return total
    >>> add([1, 2, 3])
    6
    >>> [progress.done for progress in add.steps([1, 2, 3])]
    [1, 2, 3]
    """
    on_progress = signature(function).parameters.get("on_progress")
    if on_progress is None or on_progress.kind is not Parameter.KEYWORD_ONLY:
        raise TypeError(f"{function.__qualname__} has to take on_progress, by keyword alone")
    return LongWork(function, run)
