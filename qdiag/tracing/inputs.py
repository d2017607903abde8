"""What a model is called with, and what it returns: tensors in containers of any form."""

import dataclasses
import inspect
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from qdiag.errors import InputError


class Inputs:
    """Positional and keyword arguments of one forward.

    Args:
        *args: Positional.
        **kwargs: By keyword.

    >>> Inputs(torch.zeros(2, 3), scale=2.0).batch_size
    2
    """

    def __init__(self, *args: Any, **kwargs: Any):
        self.args, self.kwargs = args, kwargs

    @classmethod
    def of(cls, example: Any, model: nn.Module) -> "Inputs":
        """What a user calls the model with, in the form that all forwards here take.

        Args:
            example: A tensor, a tuple of arguments, a dict of keyword arguments, or one argument of any other type.
            model: Tells by its forward whether a dict holds keyword arguments.
        """
        if isinstance(example, Inputs):
            return example
        if isinstance(example, tuple) and not hasattr(example, "_fields"):
            return cls(*example)
        if isinstance(example, Mapping) and set(map(str, example)) <= set(parameters_of_forward(model)):
            return cls(**example)
        return cls(example)

    def tensors(self) -> list[tuple[str, Tensor]]:
        """Every tensor with its name: `input` for the first positional one, else the keyword or position."""
        named = [(f"input{i}" if i else "input", value) for i, value in enumerate(self.args)]
        return [
            (name + suffix, tensor)
            for name, value in itertools.chain(named, self.kwargs.items())
            for suffix, tensor in named_leaves(value)
        ]

    @property
    def batch_size(self) -> int:
        """Images in this batch: the length of the first argument where that is a list, else of its first axis."""
        first = next(itertools.chain(self.args, self.kwargs.values()), None)
        if isinstance(first, (list, tuple)) and all(isinstance(item, Tensor) and item.ndim == 3 for item in first):
            return len(first)
        tensors = self.tensors()
        return len(tensors[0][1]) if tensors and tensors[0][1].ndim else 1

    def map(self, change: Any) -> "Inputs":
        """Every tensor changed, in containers of the same form.

        Args:
            change: From a tensor to a tensor.
        """
        args, kwargs = tree_map_only(Tensor, change, (self.args, self.kwargs))
        return Inputs(*args, **kwargs)

    def to_device_of(self, model: nn.Module) -> "Inputs":
        """On the model's device, where all of the model lies on one.

        Args:
            model: With parameters or buffers.
        """
        devices = {p.device for p in itertools.chain(model.parameters(), model.buffers())}
        if len(devices) != 1:
            return self
        device = devices.pop()
        return self.map(lambda tensor: tensor.to(device))

    def in_layout(self, channels_last: bool) -> "Inputs":
        """With 4-D tensors in channels-last layout, or as they are.

        Args:
            channels_last: False leaves them as they are.
        """
        if not channels_last:
            return self
        return self.map(lambda t: t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t)

    def check_finite(self, where: str) -> None:
        """Complain where a floating-point input holds NaN or infinity.

        Args:
            where: What the error begins with, as "the images".

        Raises:
            InputError: With the name of the input.
        """
        for name, tensor in self.tensors():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise InputError(
                    f"{where}: {name} holds NaN or infinity. Check how the images are loaded and normalised.",
                    code="data-not-finite",
                )

    def describe(self) -> str:
        """Name, type and shape of each tensor."""
        return ", ".join(f"{n}: {str(t.dtype).removeprefix('torch.')}{list(t.shape)}" for n, t in self.tensors())


def named_leaves(tree: Any, name: str = "") -> list[tuple[str, Tensor]]:
    """Every tensor in nested tuples, lists, mappings and dataclasses, with a path such as `.out[0]`."""
    if isinstance(tree, Tensor):
        return [(name, tree)]
    if isinstance(tree, Mapping):
        children = [(f"{name}.{key}", value) for key, value in tree.items()]
    elif isinstance(tree, (tuple, list)):
        fields = getattr(tree, "_fields", None) or [None] * len(tree)
        children = [
            (f"{name}.{f}" if f else f"{name}[{i}]", v) for i, (f, v) in enumerate(zip(fields, tree, strict=True))
        ]
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        children = [(f"{name}.{f.name}", getattr(tree, f.name)) for f in dataclasses.fields(tree)]
    else:
        return []
    return [leaf for child_name, child in children for leaf in named_leaves(child, child_name)]


def floating_leaves(tree: Any) -> list[Tensor]:
    """Every floating-point tensor in it, save for sparse ones, which cannot be indexed."""
    leaves = (tensor for _, tensor in named_leaves(tree))
    return [tensor for tensor in leaves if tensor.is_floating_point() and tensor.layout is torch.strided]


def parameters_of_forward(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    """By name; none where the forward has no signature that can be read."""
    try:
        return inspect.signature(model.forward).parameters
    except (TypeError, ValueError):  # a forward without a readable signature takes anything
        return {}
