"""Which channels of which tensors belong together: what one of them is multiplied by, all of them are."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qdiag.planning.clip_bounds import clip_bounds
from qdiag.planning.layer import Layer
from qdiag.planning.plan import QuantPlan
from qdiag.tracing.operations import OperationKind
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Call, Value


@dataclass(frozen=True)
class ChannelGroup:
    """Stored tensors whose channels correspond one to one, between the weights that make them and those that read them.

    Multiply a channel of all of them by a positive number, the weights that make it too, and divide the weights that
    read it: the network computes the same (arXiv:1906.04721, 4.1), as long as no value passes the ceiling.

    stored: layers whose tensors they are. writers, readers: weighted layers, by output and by input channel.
    ceiling: the least upper bound of a ReLU6 or the like on the way, infinite where there is none.
    """

    channels: int
    stored: tuple[Site, ...]
    writers: tuple[Layer, ...]
    readers: tuple[Layer, ...]
    ceiling: float


def channel_groups(plan: QuantPlan) -> list[ChannelGroup]:
    """Every group whose channels may be scaled, in the order of the forward.

    Left out are channels of the network's inputs and outputs, and those that pass an operation which mixes or reorders
    them, or bends them at some fixed value: concat, softmax, SiLU, a product of two tensors.
    """
    spaces = _Spaces()
    for _, value in plan.trace.outputs:
        spaces.freeze(value)
    for value in plan.trace.inputs:
        spaces.freeze(value)
    for call in plan.trace.calls:
        _follow(call, plan, spaces)
    groups = spaces.groups(plan)
    return [group for group in groups if group.writers and group.readers]


def _follow(call: Call, plan: QuantPlan, spaces: "_Spaces") -> None:
    """Write down what an operation does to the channels of its tensors."""
    layer = plan.by_site.get(call.site)
    if call.kind is OperationKind.WEIGHTED and layer is not None and layer.site == call.site:
        source, result, weight = call.inputs[0], call.outputs[0], call.tensor("weight")
        if weight is None or weight.kind != "parameter" or (call.op == "linear" and len(source.shape) != 2):
            spaces.freeze(source, result)
        else:
            spaces.readers[source.number].append(layer)
            spaces.writers[result.number].append(layer)
    elif layer is not None and layer.norm is not None and call.site in layer.norm.sites:
        spaces.join(call.activations[0], call.outputs[0])
    elif _keeps_channels(call):
        spaces.join(*call.activations, *call.outputs[:1])
        if call.kind is OperationKind.CLIP:
            low, high = clip_bounds(call) or (0.0, 0.0)
            spaces.ceilings[call.outputs[0].number] = min(high, -low if low < 0 else math.inf)
    else:
        spaces.freeze(*call.activations, *call.outputs)


def _keeps_channels(call: Call) -> bool:
    """True where scaling a channel of every input by a positive number scales it in the output, and nothing else."""
    if not call.outputs or len(call.outputs[0].shape) < 2 or not call.activations:
        return False
    result, inputs = call.outputs[0], call.activations
    if any(len(value.shape) < 2 or value.shape[1] != result.shape[1] for value in inputs):
        return False
    if call.kind is OperationKind.CLIP:
        bounds = clip_bounds(call)
        return bounds is not None and bounds[0] <= 0 < bounds[1]
    if call.op in ("add", "sub"):
        return len(inputs) == 2 == len(call.inputs) and all(value.shape == result.shape for value in inputs)
    if call.op == "pad":
        return call.arguments.get("mode", "constant") != "constant" or not call.arguments.get("value")
    if call.op == "mean":
        dims = call.arguments.get("dim", call.arguments.get("arg1"))
        return isinstance(dims, (int, tuple, list)) and _spatial(dims, len(inputs[0].shape))
    if call.op in ("flatten", "reshape", "view", "squeeze"):
        return math.prod(result.shape[1:]) == result.shape[1] and len(result.shape) <= len(inputs[0].shape)
    return call.op in _BY_CHANNEL or call.op.startswith(("avg_pool", "adaptive_avg_pool", "max_pool", "adaptive_max"))


_BY_CHANNEL = {
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "contiguous", "clone"),
    *("detach", "interpolate", "upsample"),
}


def _spatial(dims: int | Sequence[int], rank: int) -> bool:
    """True where no dimension is the images' or the channels'."""
    return all(dim % rank > 1 for dim in ([dims] if isinstance(dims, int) else dims))


@dataclass
class _Spaces:
    """Values joined into sets that share their channels, by the values' numbers."""

    above: dict[int, int] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)
    readers: dict[int, list[Layer]] = field(default_factory=lambda: defaultdict(list))
    writers: dict[int, list[Layer]] = field(default_factory=lambda: defaultdict(list))
    ceilings: dict[int, float] = field(default_factory=dict)

    def root(self, number: int) -> int:
        while number in self.above:
            number = self.above[number]
        return number

    def join(self, *values: Value) -> None:
        first, *others = (self.root(value.number) for value in values)
        for other in others:
            other, first = self.root(other), self.root(first)
            if other != first:
                self.above[other] = first

    def freeze(self, *values: Value) -> None:
        self.frozen.update(value.number for value in values)

    def groups(self, plan: QuantPlan) -> Iterable[ChannelGroup]:
        values = [value for call in plan.trace.calls for value in call.outputs]
        frozen = {self.root(number) for number in self.frozen}
        members: dict[int, list[Value]] = defaultdict(list)
        for value in values:
            members[self.root(value.number)].append(value)
        for root, group in members.items():
            if root in frozen:
                continue
            numbers = [value.number for value in group]
            last = {layer.sites[-1]: layer.site for layer in plan.layers}
            stored = [last[value.producer] for value in group if value.producer in last]
            writers = [layer for number in numbers for layer in self.writers.get(number, ())]
            readers = [layer for number in numbers for layer in self.readers.get(number, ())]
            ceiling = min((self.ceilings.get(number, math.inf) for number in numbers), default=math.inf)
            yield ChannelGroup(group[0].shape[1], tuple(stored), tuple(writers), tuple(readers), ceiling)
