"""Parallel convolutions of one tensor whose sum is taken: one convolution could compute it, once they are merged."""

from collections.abc import Iterator
from dataclasses import dataclass

from qdiag.tracing.norms import MergedNorm, batch_norm
from qdiag.tracing.site import Site
from qdiag.tracing.trace import Call, Trace, Value


@dataclass(frozen=True)
class Branch:
    """One way from the common tensor to the sum: a convolution, a BatchNorm, one after the other, or nothing."""

    source: Value
    conv: Call | None = None
    norm: MergedNorm | None = None

    @property
    def sites(self) -> tuple[Site, ...]:
        """Of its operations, in order."""
        return (*((self.conv.site,) if self.conv else ()), *(self.norm.sites if self.norm else ()))


@dataclass(frozen=True)
class ParallelBranches:
    """A sum of branches. sums: its additions, the last first; those with a plain zero are among them."""

    sums: tuple[Call, ...]
    branches: tuple[Branch, ...]

    @property
    def source(self) -> Value:
        """The tensor that all of them read."""
        return self.branches[0].source

    @property
    def convolutions(self) -> tuple[Call, ...]:
        """Of those branches that have one."""
        return tuple(branch.conv for branch in self.branches if branch.conv is not None)


def parallel_branches(trace: Trace) -> tuple[ParallelBranches, ...]:
    """Every sum of branches that one convolution could compute, the last of the forward first."""
    found, used = [], set[Site]()
    for call in reversed(trace.calls):
        if call.op != "add" or call.site in used:
            continue
        sums, leaves = _flattened(trace, call)
        branches = _from_one_source(trace, leaves)
        if branches and _fit(branches):
            found.append(ParallelBranches(tuple(sums), branches))
            used.update(one.site for one in sums)
    return tuple(found)


def _flattened(trace: Trace, call: Call) -> tuple[list[Call], list[Value]]:
    """All additions of one sum, and what they add up."""
    sums, leaves = [call], list[Value]()
    for value in call.inputs:
        producer = trace.producer(value)
        if producer is not None and producer.op == "add" and _is_read_once(trace, value):
            more, under = _flattened(trace, producer)
            sums += more
            leaves += under
        else:
            leaves.append(value)
    if len(call.inputs) == 1 and not _adds_zero(call):
        return [call], []
    return sums, leaves


def _adds_zero(call: Call) -> bool:
    return any(isinstance(value, int | float) and value == 0 for value in call.arguments.values())


def _is_read_once(trace: Trace, value: Value) -> bool:
    return len(trace.consumers(value)) == 1 and not trace.is_output(value)


def _from_one_source(trace: Trace, leaves: list[Value]) -> tuple[Branch, ...]:
    """One branch for each of them; () where they do not begin at one tensor."""
    ways = [{branch.source.number: branch for branch in _ways(trace, leaf)} for leaf in leaves]
    common = set.intersection(*(set(way) for way in ways)) if len(ways) > 1 else set()
    return tuple(way[max(common)] for way in ways) if common else ()


def _ways(trace: Trace, leaf: Value) -> Iterator[Branch]:
    """The branches that may end in this tensor, the longest last."""
    yield Branch(leaf)
    call, norm = trace.producer(leaf), None
    if call is None or not _is_read_once(trace, leaf):
        return
    if call.op == "batch_norm":
        norm = batch_norm(call)
        if norm is None:
            return
        source = call.inputs[0]
        yield Branch(source, None, norm)
        call = trace.producer(source) if _is_read_once(trace, source) else None
    if call is not None and call.op == "conv2d":
        yield Branch(call.inputs[0], call, norm)


def _fit(branches: tuple[Branch, ...]) -> bool:
    """True where kernels lie on the same places: equal strides, groups and dilations, and set around their middle.

    A convolution and a plain shortcut are no parallel branches: that is how a network is meant to run.
    """
    if sum(branch.conv is not None or branch.norm is not None for branch in branches) < 2:
        return False
    convs = [branch.conv for branch in branches if branch.conv is not None]
    alike = {(_pair(c, "stride", 1), c.arguments.get("groups", 1), c.outputs[0].shape) for c in convs}
    dilations = {_pair(c, "dilation", 1) for c in convs if _kernel(c) != (1, 1)}
    if len(alike) != 1 or len(dilations) > 1 or not all(map(_is_centred, convs)):
        return False
    (stride, _, shape) = next(iter(alike))
    return len(convs) == len(branches) or (stride == (1, 1) and shape == branches[0].source.shape)


def _is_centred(conv: Call) -> bool:
    weight, kernel = conv.tensor("weight"), _kernel(conv)
    pads = tuple(d * (k - 1) // 2 for k, d in zip(kernel, _pair(conv, "dilation", 1), strict=True))
    padding = conv.arguments.get("padding", 0)
    is_same = padding == "same" if isinstance(padding, str) else _pair(conv, "padding", 0) == pads
    is_own = weight is not None and weight.kind == "parameter"
    return is_own and is_same and all(k % 2 for k in kernel)


def _kernel(conv: Call) -> tuple[int, ...]:
    weight = conv.tensor("weight")
    return weight.shape[2:] if weight is not None else ()


def _pair(conv: Call, name: str, default: int) -> tuple[int, ...]:
    value = conv.arguments.get(name, default)
    return (value, value) if isinstance(value, int) else tuple(value)
