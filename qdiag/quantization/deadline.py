"""A moment by which work is done, or left."""

import time
from collections.abc import Callable
from typing import TypeVar

from qdiag.errors import OptionError
from qdiag.progress import Progress, Steps, Stopped, listener, listening

T = TypeVar("T")


class TimeIsUp(Stopped):
    """Raised where work reports its progress once the moment has passed.

    deadline: whose moment it was.
    """

    def __init__(self, deadline: "Deadline"):
        super().__init__()
        self.deadline = deadline


class Deadline:
    """A moment on the monotonic clock; `None` minutes are without an end.

    >>> Deadline(None).is_over, Deadline(1).is_over
    (False, False)
    """

    def __init__(self, minutes: float | None):
        if minutes is not None and not minutes > 0:
            raise OptionError(f"minutes={minutes!r}: give a number above 0, or None.", code="option-value")
        self.minutes, self.began = minutes, time.monotonic()

    @property
    def is_over(self) -> bool:
        return self.minutes is not None and time.monotonic() >= self.began + 60 * self.minutes

    def within(self, steps: Steps[T]) -> Steps[T | None]:
        """The value of the work; None where the moment came before its end, whereupon it is left as it stands."""
        try:
            while not self.is_over:
                with listening(self._until(listener())):
                    progress = next(steps)
                yield progress
        except StopIteration as end:
            value: T = end.value
            return value
        except TimeIsUp as up:
            if up.deadline is not self:  # one around this one
                raise
        finally:
            steps.close()
        return None

    def _until(self, heard: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """What work tells from inside a step is heard as before, until the moment has passed."""

        def hear(progress: Progress) -> None:
            if self.is_over:
                raise TimeIsUp(self)
            heard(progress)

        return hear
