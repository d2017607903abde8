"""Progress is heard between steps, and from inside a step that cannot be left."""

import pytest

from qdiag.progress import Progress, Steps, Stopped, listening, report, run

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
