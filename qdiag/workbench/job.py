"""Long work in one thread beside the notebook's."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from qdiag.progress import Progress, Steps, Stopped, listening
from qdiag.workbench.forced_stop import ForcedStop

T = TypeVar("T")


class Job:
    """Runs one piece of work at a time, and stops it on request.

    on_progress, on_stopped, on_error: called from the worker's thread, which interrupting the kernel does not reach.
    """

    def __init__(
        self,
        on_progress: Callable[[Progress], None],
        on_stopped: Callable[[], None],
        on_error: Callable[[Exception], None],
    ):
        self.on_progress, self.on_stopped, self.on_error = on_progress, on_stopped, on_error
        self._cancel, self._over = threading.Event(), threading.Event()
        self._forced_stop = ForcedStop()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def is_running(self) -> bool:
        """False as soon as the work itself is over: it waits for what is still told of it."""
        if self._over.is_set():
            self.wait()
        return self._thread is not None and self._thread.is_alive()

    def start(self, steps: Steps[Any], on_done: Callable[[Any], None]) -> bool:
        """Begin; on_done takes the result, in the worker's thread. False where something is under way already."""
        with self._lock:
            if self.is_running:
                return False
            self._cancel.clear()
            self._over.clear()
            self._forced_stop = ForcedStop()
            self._thread = threading.Thread(target=self._work, args=(steps, on_done), name="qdiag-job", daemon=True)
            self._thread.start()
            return True

    def stop(self) -> None:
        """End the work where it tells its progress, or else in the middle of a step, soon after."""
        self._cancel.set()
        self._forced_stop.ask()

    def wait(self, seconds: float | None = None) -> None:
        """Until the work has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _work(self, steps: Steps[Any], on_done: Callable[[Any], None]) -> None:
        try:
            try:
                result = self._run(steps)
            except Stopped:
                steps.close()  # what has something to save does so now
                raise
            finally:
                self._over.set()
            on_done(result)
        except Stopped:
            self.on_stopped()
        except Exception as error:  # noqa: BLE001 - whatever the user's model raises is shown on the page
            self.on_error(error)

    def _run(self, steps: Steps[T]) -> T:
        with listening(self._heard), self._forced_stop:
            while True:
                try:
                    self._heard(next(steps))
                except StopIteration as end:
                    value: T = end.value
                    return value

    def _heard(self, progress: Progress) -> None:
        self.on_progress(progress)
        if self._cancel.is_set():
            raise Stopped
