"""Progress is heard between steps, and from inside a step that cannot be left."""

import pytest

from qdiag.progress import OnProgress, Progress, Steps, Stopped, listening, long_work, report, run

FIRST, INSIDE = Progress("counting", 1, 2), Progress("counting", 2, 2)


def work() -> Steps[str]:
    yield FIRST
    report(INSIDE)
    return "done"


def test_what_is_reported_inside_a_step_is_heard_in_its_order() -> None:
    heard: list[Progress] = []
    assert run(work(), heard.append) == "done"
    assert heard == [FIRST, INSIDE]


def test_without_a_listener_a_report_goes_nowhere() -> None:
    steps = work()
    assert next(steps) == FIRST
    with pytest.raises(StopIteration, match="done"):
        next(steps)


def test_a_listener_stops_a_step_that_holds_exceptions_up() -> None:
    def long_step() -> Steps[None]:
        yield FIRST
        try:
            report(INSIDE)
        except Exception:  # noqa: BLE001 - as the call of a user's model does
            pytest.fail("the stop was held up")

    def stop(progress: Progress) -> None:
        raise Stopped

    steps = long_step()
    next(steps)
    with listening(stop), pytest.raises(Stopped):
        next(steps)


def test_listeners_nest() -> None:
    outer: list[Progress] = []
    inner: list[Progress] = []
    with listening(outer.append):
        run(work(), inner.append)
        report(FIRST)
    assert (outer, inner) == ([FIRST], [FIRST, INSIDE])


class Counter:
    def __init__(self, total: int):
        self.total = total

    @long_work
    def count(self, step: int = 1, *, on_progress: OnProgress = None) -> Steps[int]:
        """Count up."""
        for number in range(0, self.total, step):
            yield Progress("counting", number + step, self.total)
        return self.total


def test_a_method_that_takes_long_knows_its_object_and_tells_who_listens() -> None:
    heard: list[Progress] = []
    assert Counter(4).count(2, on_progress=heard.append) == 4
    assert [progress.done for progress in heard] == [2, 4]
    assert [progress.done for progress in Counter(2).count.steps()] == [1, 2]


def test_a_listener_is_given_by_keyword_or_refused() -> None:
    with pytest.raises(TypeError):
        Counter(4).count(2, print)  # type: ignore[call-arg]


def test_long_work_without_a_keyword_for_its_listener_is_refused_where_it_is_made() -> None:
    def by_position(on_progress: OnProgress = None) -> Steps[None]:
        yield FIRST

    for function in (work, by_position):
        with pytest.raises(TypeError, match="by keyword alone"):
            long_work(function)
