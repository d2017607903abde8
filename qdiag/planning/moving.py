"""Operations that only move values, so that what they give keeps the format of what they read."""

import math
from typing import Any

from qdiag.tracing.operations import OperationKind
from qdiag.tracing.trace import Call


def moves_values(call: Call) -> bool:
    """True where every output value is one of the input's, or one that each format holds: zero, and the ends.

    Reshaping, selecting, nearest-neighbour resizing, padding with zeros. Not padding with another number, or
    folding patches that overlap, which is a sum.

    Args:
        call: Any operation.

    >>> import torch
    >>> from qdiag.tracing.tracer import trace
    >>> [moves_values(trace(torch.nn.ConstantPad1d(1, v), torch.zeros(1, 4)).calls[0]) for v in (0, 3, -torch.inf)]
    [True, False, True]
    """
    if call.op == "interpolate":
        return "nearest" in call.arguments.get("mode", "nearest")
    if call.kind is not OperationKind.SAME_RANGE:
        return False
    if call.op in ("pad", "constant_pad_nd"):
        return _pads_with_what_is_there(call)
    return call.op != "fold" or _lies_side_by_side(call)


def _pads_with_what_is_there(call: Call) -> bool:
    value = call.arguments.get("value")
    if call.arguments.get("mode", "constant") != "constant" or value is None:
        return True
    # an infinite one is there to lose against all others, as the format's end does
    return isinstance(value, (int, float)) and (value == 0 or math.isinf(value))


def _lies_side_by_side(call: Call) -> bool:
    """True where no two patches of a fold meet."""
    kernel, dilation, stride = (
        _pair(call.arguments.get(name, call.arguments.get(place, default)))
        for name, place, default in (("kernel_size", "arg2", 0), ("dilation", "arg3", 1), ("stride", "arg5", 1))
    )
    return all(s >= d * (k - 1) + 1 for k, d, s in zip(kernel, dilation, stride, strict=True))


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])
