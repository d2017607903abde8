"""Where a ReLU-like operation clips."""

import math
from typing import Any

from qdiag.tracing.trace import Call, Value


def clip_bounds(call: Call) -> tuple[float, float] | None:
    """The bounds of a ReLU-like operation; (-inf, inf) for one that bends instead; None where they are computed.

    Args:
        call: Of the kind CLIP.

    >>> import torch
    >>> from qdiag.tracing.tracer import trace
    >>> clip_bounds(trace(torch.nn.ReLU6(), torch.zeros(1, 4)).calls[0])
    (0.0, 6.0)
    """
    if call.op in _FIXED:
        return _FIXED[call.op]
    low, high = _given(call.op, call.arguments)
    if isinstance(low, Value) or isinstance(high, Value):
        return None
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


_FIXED = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "leaky_relu": (-math.inf, math.inf),
    "prelu": (-math.inf, math.inf),
}


def _given(op: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """What the call was given for the two bounds; None for neither number nor tensor."""
    if op == "hardtanh":
        return arguments.get("min_val", -1.0), arguments.get("max_val", 1.0)
    if op == "clamp_min":
        return arguments.get("min", arguments.get("arg1")), arguments.get("max")
    if op == "clamp_max":
        return None, arguments.get("max", arguments.get("arg1"))
    return arguments.get("min"), arguments.get("max")
