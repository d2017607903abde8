"""What Accelerate brings: processes, devices, mixed precision and trackers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import nn

from qdiag.progress import LongWork, OnProgress, Progress, Steps, run

P = ParamSpec("P")
T = TypeVar("T")

_ACCELERATES_OWN = ("forward", "_original_forward", "_is_accelerate_prepared")


def is_first_process() -> bool:
    """Of several, it is the one that writes and shows."""
    return bool(Accelerator().is_main_process)


def told_by_the_first(work: LongWork[P, T]) -> LongWork[P, T]:
    """Long work of several processes, of which the first one alone has a bar and a listener."""

    def run_here(steps: Steps[T], on_progress: OnProgress) -> T:
        return run(steps, on_progress if is_first_process() else _no_bar)

    return LongWork(work.steps, run_here)


def _no_bar(progress: Progress) -> None:
    """The first process has it."""


def accelerator_for(output: str | os.PathLike[str] | None, *, tensorboard: bool) -> Accelerator:
    """Of this process, with curves in the output folder where they are wanted."""
    folder = None if output is None else Path(output)
    # Heads that only some outputs come from have no gradient.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
    logger = "tensorboard" if tensorboard else None
    return Accelerator(log_with=logger, project_dir=folder, kwargs_handlers=[parallel])


@contextmanager
def curves(accelerator: Accelerator, *, tensorboard: bool) -> Iterator[None]:
    """What is logged inside is written, where it is to be."""
    if tensorboard:
        accelerator.init_trackers("logs")
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()


@contextmanager
def kept_model(model: nn.Module) -> Iterator[None]:
    """Modes; and what accelerate sets on the model, mixed precision's own forward first of all."""
    modes = [(module, module.training) for module in model.modules()]
    before = {name: vars(model)[name] for name in _ACCELERATES_OWN if name in vars(model)}
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for name in _ACCELERATES_OWN:
            vars(model).pop(name, None)
        vars(model).update(before)
