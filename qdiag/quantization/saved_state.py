"""Whether a saved state holds what it should, before anything is taken from it."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from qdiag.contents import is_unchanged
from qdiag.errors import InputError, QdiagError


@contextmanager
def reading_state() -> Iterator[None]:
    """What a field of another kind raises is an InputError."""
    try:
        yield
    except QdiagError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise damaged(f"{type(error).__name__}: {error}") from error


def check_seal(state: Mapping[str, Any]) -> None:
    """Raises InputError for a state that is none, or that was changed since it was saved."""
    if not isinstance(state, Mapping):
        raise damaged(f"they are a {type(state).__name__}")
    if not is_unchanged(state):
        raise damaged("what they hold is not what was saved")


def check_ranges(state: Mapping[str, Any]) -> None:
    """Raises InputError for ranges that are none, and for a layer that was seen on images and has lost its range."""
    with reading_state():
        for part in ("ranges", "seen"):
            for site, ends in state[part].items():
                if not _is_range(ends):
                    raise damaged(f"{part} of {site!r} are {ends!r}, and should be two finite numbers in order")
        lost = sorted(set(state["seen"]) - set(state["ranges"]))
        if lost:
            raise damaged(f"the range of {lost[0]!r} is missing, so that it would stay in float")


def check_tensors(state: Mapping[str, Any], part: str) -> None:
    """Raises InputError where a part of a state holds something else than finite tensors, by address."""
    with reading_state():
        for site, tensor in state[part].items():
            if not isinstance(tensor, Tensor) or not bool(tensor.isfinite().all()):
                raise damaged(f"{part} of {site!r} should be finite numbers in a tensor")


def damaged(what: str) -> InputError:
    """An error that says so."""
    return InputError(
        f"the saved formats and ranges are damaged: {what}. Take another copy of the file, or calibrate anew.",
        code="unreadable-file",
    )


def _is_range(ends: Any) -> bool:
    numbers = isinstance(ends, tuple | list) and all(type(end) in (int, float) and math.isfinite(end) for end in ends)
    return numbers and len(ends) == 2 and ends[0] <= ends[1]
