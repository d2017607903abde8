"""Where in a network a fault can be put so that float stays the same function."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx, nn

from tests.faults.graph import Stored, graph_of, is_clamp, module_of, stored


@dataclass(frozen=True)
class Pair:
    """A convolution with its BatchNorm, and all that read it: convolutions at these paths.

    has_relu: whether its output goes through a ReLU, which keeps positive factors. is_depthwise: of the first.
    """

    first: str
    norm: str
    readers: tuple[str, ...]
    has_relu: bool
    is_depthwise: bool


@dataclass(frozen=True)
class Sum:
    """Two convolutions with BatchNorm and no activation, added: paths of both and of their BatchNorms."""

    first: tuple[str, str]
    norms: tuple[str, str]


@dataclass(frozen=True)
class Concat:
    """A branch that ends in Conv, BatchNorm and ReLU, the place of its channels, and the convolutions that read all."""

    pair: Pair
    start: int


def pairs(model: nn.Module) -> tuple[Pair, ...]:
    net = graph_of(model)
    return tuple(_pairs(net))


def _pairs(net: fx.GraphModule) -> Iterator[Pair]:
    for one in stored(net):
        if isinstance(module_of(net, one.first), nn.Conv2d) and one.norm is not None and keeps_factors(net, one):
            readers = [(module_of(net, user), str(user.target)) for user in one.end.users]
            if readers and all(isinstance(module, nn.Conv2d) and _is_simple(module) for module, _ in readers):
                yield pair_of(net, one, tuple(name for _, name in readers))


def pair_of(net: fx.GraphModule, one: Stored, readers: tuple[str, ...]) -> Pair:
    conv, norm = module_of(net, one.first), one.norm
    assert isinstance(conv, nn.Conv2d)
    assert norm is not None
    return Pair(one.name, str(norm.target), readers, one.end is not norm, _is_depthwise(conv))


def keeps_factors(net: fx.GraphModule, one: Stored) -> bool:
    """True behind a ReLU or nothing; a ReLU6 does not."""
    clamp = module_of(net, one.end)
    if not isinstance(getattr(module_of(net, one.norm), "act", nn.Identity()), nn.Identity):
        return False
    return one.end is one.norm or (is_clamp(net, one.end) and type(clamp) is not nn.ReLU6 and one.end.target != "relu6")


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return 1 < conv.groups == conv.in_channels == conv.out_channels


def _is_simple(conv: nn.Conv2d) -> bool:
    return conv.groups == 1 or _is_depthwise(conv)


def sums(model: nn.Module) -> tuple[Sum, ...]:
    """Additions of two linear branches that nothing else reads."""
    net = graph_of(model)
    by_end = {one.end: one for one in stored(net)}
    found = []
    for node, one in by_end.items():
        branches = [by_end.get(argument) for argument in one.first.args if isinstance(argument, fx.Node)]
        if one.name.endswith(":add") and len(branches) == 2 and all(b is not None and _is_linear(b) for b in branches):
            left, right = (b for b in branches if b is not None and b.norm is not None)
            assert left.norm is not None
            assert right.norm is not None
            found.append(Sum((left.name, right.name), (str(left.norm.target), str(right.norm.target))))
        del node
    return tuple(found)


def _is_linear(one: Stored) -> bool:
    return one.norm is not None and one.end is one.norm and len(one.end.users) == 1


def concats(model: nn.Module) -> tuple[Concat, ...]:
    """Branches of concatenations that only convolutions read."""
    net = graph_of(model)
    by_end = {one.end: one for one in stored(net)}
    found = []
    for node, one in by_end.items():
        users = [(module_of(net, user), str(user.target)) for user in node.users]
        if not one.name.endswith(":cat") or not all(isinstance(m, nn.Conv2d) and m.groups == 1 for m, _ in users):
            continue
        start = 0
        inputs = one.first.args[0]
        assert isinstance(inputs, list | tuple)
        for argument in inputs:
            branch = by_end.get(argument)  # type: ignore[arg-type]
            conv = None if branch is None else module_of(net, branch.first)
            if not isinstance(conv, nn.Conv2d) or branch is None or branch.norm is None:
                break
            if keeps_factors(net, branch) and len(branch.end.users) == 1:
                found.append(Concat(pair_of(net, branch, tuple(name for _, name in users)), start))
            start += conv.out_channels
    return tuple(found)
