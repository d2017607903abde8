"""A trace's operations, grouped into the layers that the target computes in one go."""

import math
from dataclasses import dataclass, field

from qdiag.planning.clip_bounds import clip_bounds
from qdiag.planning.layer import Layer
from qdiag.planning.moving import moves_values
from qdiag.tracing.norms import MergedNorm, norm_after, only_consumer
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site
from qdiag.tracing.status import Status, statuses
from qdiag.tracing.trace import Call, Trace, Value


@dataclass(frozen=True)
class Grouping:
    """Layers front to back, the network's inputs first; and operations in float, each with the reason."""

    layers: tuple[Layer, ...]
    floating: dict[Site, str]


def grouped(trace: Trace) -> Grouping:
    """Layers without formats: convolution, BatchNorm and ReLU as one; an addition alone.

    Args:
        trace: Of the model's forward.

    >>> import torch
    >>> from qdiag.tracing.tracer import trace
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    >>> for layer in grouped(trace(network, torch.zeros(1, 3, 8, 8))).layers:
    ...     print(*layer.sites)
    :input
    0 1
    """
    groups = _Groups(trace)
    for number, value in enumerate(value for value in trace.inputs if value.is_floating):
        groups.add_input(value, number)
    for call in trace.calls:
        if call.site not in groups.taken:
            groups.add(call)
    return Grouping(tuple(groups.layers), groups.floating)


@dataclass
class _Groups:
    """The layers so far.

    stored: by a value's number, the layer whose format it carries. taken: operations that a layer before them does.
    """

    trace: Trace
    layers: list[Layer] = field(default_factory=list)
    floating: dict[Site, str] = field(default_factory=dict)
    stored: dict[int, Site] = field(default_factory=dict)
    taken: set[Site] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.status = statuses(self.trace)

    def add_input(self, value: Value, number: int) -> None:
        layer = Layer((Site("", "input", number),), None)
        self.layers.append(layer)
        self.stored[value.number] = layer.site

    def add(self, call: Call) -> None:
        output = call.outputs[0]
        status = self.status[output.number]
        if status is Status.OUTSIDE and output.is_floating:
            self.floating[call.site] = _why_outside(call)
        if status is not Status.FEATURE:
            return
        if not moves_values(call):
            self._add_layer(call)
        elif sources := self._sources(call):
            self.stored.update({value.number: sources[0] for value in call.outputs})

    def _add_layer(self, call: Call) -> None:
        chain, norm = self._chain(call)
        is_weighted = call.kind is OperationKind.WEIGHTED
        layer = Layer(
            tuple(member.site for member in chain),
            call.kind,
            self._sources(call),
            norm=norm,
            bounds=clip_bounds(chain[-1]) if chain[-1].kind is OperationKind.CLIP else None,
            is_depthwise=call.is_depthwise,
            groups=call.arguments.get("groups", 1) if is_weighted else 1,
        )
        self.layers.append(layer)
        self.taken.update(layer.sites)
        self.stored.update({value.number: layer.site for value in chain[-1].outputs})
        reason = self._why_in_part(call)
        if reason is not None:
            self.floating[call.site] = reason

    def _chain(self, call: Call) -> tuple[list[Call], MergedNorm | None]:
        """The operations that the layer does, and the BatchNorm among them."""
        norm = norm_after(self.trace, call) if call.kind is OperationKind.WEIGHTED else None
        chain = [call, *(self.trace[site] for site in (norm.sites if norm is not None else ()))]
        after = only_consumer(self.trace, chain[-1])
        if after is not None and after.kind is OperationKind.CLIP and clip_bounds(after) is not None:
            chain.append(after)
        return chain, norm

    def _sources(self, call: Call) -> tuple[Site, ...]:
        """The layers whose stored tensors an operation reads."""
        return tuple(dict.fromkeys(self.stored[v.number] for v in call.activations if v.number in self.stored))

    def _why_in_part(self, call: Call) -> str | None:
        """Why a part of a layer's arithmetic stays in float; None where none does."""
        if call.inputs[0].kind == "unseen":
            return f"its input {_UNSEEN}"
        if call.op in _MULTIPLIES and any(map(self._is_weight, call.inputs)):
            return "its weights stay in float: it is neither a convolution nor a linear layer"
        return None

    def _is_weight(self, value: Value) -> bool:
        return self.status[value.number] is Status.STATIC and value.is_floating and math.prod(value.shape) > 1


_UNSEEN = "cannot be followed: register it as a buffer, or compute it with torch's operations, not NumPy or a script"

# Operations that multiply by weights, where these are not computed in the forward as the other factor is.
_MULTIPLIES = (
    *("matmul", "bmm", "mm", "einsum", "baddbmm", "addmm"),
    *("multi_head_attention_forward", "deform_conv2d"),
)


def _why_outside(call: Call) -> str:
    if call.kind is OperationKind.OTHER:
        return f"{call.op} is not a layer of the target"
    if any(value.kind == "unseen" for value in call.inputs):
        return f"takes a tensor that {_UNSEEN}"
    return "computed from values that do not come out of the network's layers (pre- or post-processing)"
