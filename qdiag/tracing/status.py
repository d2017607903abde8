"""Which values of a forward the target computes in fixed point."""

import enum

from qdiag.tracing.operations import OperationKind
from qdiag.tracing.trace import Call, Trace, Value


class Status(enum.Enum):
    """FEATURE: computed by the network's layers from its inputs. STATIC: follows from parameters and buffers alone.

    OUTSIDE: everything else, as indices, anchors made in the forward, and what post-processing computes from both.
    """

    FEATURE = enum.auto()
    STATIC = enum.auto()
    OUTSIDE = enum.auto()


def statuses(trace: Trace) -> dict[int, Status]:
    """The status of every value, by its number."""
    found = {value.number: Status.FEATURE if value.is_floating else Status.OUTSIDE for value in trace.inputs}
    for call in trace.calls:
        for value in call.inputs:
            found.setdefault(value.number, _of_leaf(value))
        status = _of_result(call, [found[value.number] for value in call.inputs])
        for value in call.outputs:
            found[value.number] = status if value.is_floating else Status.OUTSIDE
    for _, value in trace.outputs:
        found.setdefault(value.number, _of_leaf(value))
    return found


def _of_leaf(value: Value) -> Status:
    if value.kind in ("parameter", "buffer"):
        return Status.STATIC
    is_number = all(length == 1 for length in value.shape)
    return Status.STATIC if is_number and value.is_floating else Status.OUTSIDE


def _of_result(call: Call, given: list[Status]) -> Status:
    floats = [s for s, value in zip(given, call.inputs, strict=True) if value.is_floating]
    if not floats:
        return Status.OUTSIDE
    if all(status is Status.STATIC for status in floats):
        return Status.STATIC
    first = floats[0]
    if call.kind is OperationKind.SAME_RANGE:
        return first
    if call.kind is OperationKind.OTHER:
        return Status.OUTSIDE
    if call.kind is OperationKind.WEIGHTED or (call.kind is OperationKind.RESIZE and first is Status.FEATURE):
        return Status.FEATURE  # what a layer with weights computes is a feature, whatever prepared its input
    return Status.OUTSIDE if Status.OUTSIDE in floats else Status.FEATURE
