"""Whatever a model returns, leaf by leaf: tensors that can be compared, and what cannot be seen into."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qdiag.comparison.decision_tape import DecisionTape, is_decision
from qdiag.quantization.lockstep import Lockstep


@dataclass(frozen=True)
class Met:
    """The outputs of one batch: tensors by name in float and in each lane, and the names of what was not met."""

    names: tuple[str, ...]
    reference: tuple[Tensor, ...]
    versions: tuple[tuple[Tensor, ...], ...]
    unseen: tuple[str, ...] = ()


def output_leaves(tree: Any, name: str = "") -> list[tuple[str, Any]]:
    """Everything in nested tuples, lists, mappings and dataclasses that is none of these, with a path.

    >>> output_leaves({"boxes": [1.5], "scores": None})
    [('.boxes[0]', 1.5), ('.scores', None)]
    """
    if isinstance(tree, Mapping):
        children = [(f"{name}.{key}", value) for key, value in tree.items()]
    elif isinstance(tree, (tuple, list)):
        fields = getattr(tree, "_fields", None)
        children = [(f"{name}.{fields[i]}" if fields else f"{name}[{i}]", value) for i, value in enumerate(tree)]
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        children = [(f"{name}.{field.name}", getattr(tree, field.name)) for field in dataclasses.fields(tree)]
    else:
        return [(name, tree)]
    return [leaf for child_name, child in children for leaf in output_leaves(child, child_name)]


def met_in_lockstep(result: Any, lockstep: Lockstep, tape: DecisionTape | None, constants: Collection[str]) -> Met:
    """Outputs of a lockstep's forward, with what they are in each lane.

    tape: what became of decisions, where there are any. constants: names of outputs that do not depend on the images.
    """
    lanes = range(len(lockstep.lanes))
    names, reference, versions, unseen = [], [], [], []
    leaves = output_leaves(result)
    for name, leaf in [*leaves, *_behind(leaves, tape)]:
        own = [_own(leaf, lockstep, lane, tape) for lane in lanes]
        if all(version is not None for version in own):
            names.append(name)
            reference.append(leaf)
            versions.append(own)
        elif name not in constants:
            unseen.append(_described(name, leaf))
    by_lane = tuple(tuple(own[lane] for own in versions) for lane in lanes)
    return Met(tuple(names), tuple(reference), by_lane, tuple(dict.fromkeys(unseen)))


def _behind(leaves: list[tuple[str, Any]], tape: DecisionTape | None) -> list[tuple[str, Any]]:
    """The floating tensors that decisions among the outputs were made from, where these are no outputs themselves."""
    if tape is None:
        return []
    known = {id(leaf) for _, leaf in leaves}
    found = []
    for name, leaf in leaves:
        if isinstance(leaf, Tensor) and is_decision(leaf):
            behind = [tensor for tensor in tape.before(leaf) if id(tensor) not in known]
            known.update(map(id, behind))
            numbers = ["", *(f" ({number})" for number in range(2, len(behind) + 1))]
            found += [(f"{name} before it is decided{n}".lstrip(), t) for n, t in zip(numbers, behind, strict=False)]
    return found


def met_apart(reference: Any, version: Any) -> Met:
    """Outputs of two forwards that ran by themselves, NumPy arrays and numbers among them."""
    own = dict(output_leaves(version))
    names, tensors, others, unseen = [], [], [], []
    for name, leaf in output_leaves(reference):
        one, other = _tensor(leaf), _tensor(own.get(name))
        if one is not None and other is not None and one.shape == other.shape:
            names.append(name)
            tensors.append(one)
            others.append(other)
        elif leaf is not None and not isinstance(leaf, str):
            unseen.append(_described(name, leaf))
    return Met(tuple(names), tuple(tensors), (tuple(others),), tuple(dict.fromkeys(unseen)))


def joined(met: Sequence[Met]) -> Met:
    """Several versions beside the same reference, of what all of them could be met in."""
    names = [name for name in met[0].names if all(name in one.names for one in met)]
    places = [[one.names.index(name) for name in names] for one in met]
    reference = tuple(met[0].reference[place] for place in places[0])
    versions = tuple(tuple(one.versions[0][place] for place in own) for one, own in zip(met, places, strict=True))
    return Met(tuple(names), reference, versions, tuple(dict.fromkeys(name for one in met for name in one.unseen)))


def _own(leaf: Any, lockstep: Lockstep, lane: int, tape: DecisionTape | None) -> Any:
    """A lane's version of an output; None where it cannot be told."""
    if not isinstance(leaf, Tensor) or leaf.layout is not torch.strided:
        return None
    if not is_decision(leaf):
        return lockstep.twin(leaf, lane) if leaf in lockstep.twins else None
    own = None if tape is None else tape.decided(leaf, lambda tensor: lockstep.twin(tensor, lane))
    return own if own is not None and own.shape == leaf.shape else None


def _tensor(leaf: Any) -> Tensor | None:
    if isinstance(leaf, Tensor):
        return leaf if leaf.layout is torch.strided else None
    if type(leaf).__module__ == "numpy" and getattr(leaf, "dtype", None) is not None and leaf.dtype.kind in "biuf":
        return torch.as_tensor(leaf)
    return torch.as_tensor(leaf) if isinstance(leaf, (int, float)) else None


def _described(name: str, leaf: Any) -> str:
    """What an output is, in words; the places in a list are not told apart."""
    place = name.partition("[")[0].lstrip(".")
    if isinstance(leaf, Tensor) and (leaf.is_complex() or leaf.layout is not torch.strided):
        what = "complex tensor" if leaf.is_complex() else f"tensor in the layout {leaf.layout}"
    elif isinstance(leaf, Tensor):
        what = "tensor that cannot be followed back to the images through tensors of real numbers"
    else:
        what = f"{type(leaf).__module__}.{type(leaf).__qualname__}".removeprefix("builtins.")
    return f"{place}: {what}" if place else what


def constant_leaves(first: Any, second: Any) -> frozenset[str]:
    """The names of outputs that are the same in both results."""
    others = dict(output_leaves(second))
    return frozenset(name for name, leaf in output_leaves(first) if name in others and _is_same(leaf, others[name]))


def _is_same(a: Any, b: Any) -> bool:
    tensors: Sequence[Tensor | None] = [_tensor(a), _tensor(b)]
    if tensors[0] is not None and tensors[1] is not None:
        return tensors[0].shape == tensors[1].shape and bool((tensors[0] == tensors[1]).all())
    return (a is None and b is None) or (isinstance(a, str) and a == b)
