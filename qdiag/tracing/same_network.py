"""Telling one network in two objects from two networks."""

from torch import nn


def is_same_network(one: nn.Module, other: nn.Module) -> bool:
    """Whether they are one object, or copies of one that share its parameters."""
    if one is other:
        return True
    ours, theirs = dict(one.named_parameters()), dict(other.named_parameters())
    return bool(ours) and ours.keys() == theirs.keys() and all(ours[name] is theirs[name] for name in ours)
