"""Modules for operations that torch has as functions alone.

Each is named after its operation, so that an address is the module's path and nothing more.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Numbers = Sequence[int] | np.ndarray
"""Lengths, axes and the like: integers of Python, or symbols while `torch.export` records."""


class Operation(nn.Module):
    """One function of tensors, as a module."""

    function: ClassVar[Callable[..., Any]]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


_OF_TORCH = (
    "add sub mul div pow neg abs sqrt exp log floor ceil round sign erf reciprocal sin cos tan asin acos atan sinh "
    "cosh asinh acosh atanh fmod remainder maximum minimum where gather cumsum einsum matmul clamp permute squeeze "
    "select amax amin sum mean prod logsumexp norm split tile topk argmax argmin tril triu isnan isinf nonzero eq lt "
    "gt le ge logical_not logical_and logical_or logical_xor scatter flatten bitwise_and bitwise_or "
    "log_softmax softmax scatter_add stack"
)
_OF_FUNCTIONAL = (
    "pad grid_sample batch_norm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
    "linear prelu layer_norm group_norm instance_norm one_hot normalize local_response_norm avg_pool2d max_pool2d "
    "max_pool1d max_pool3d avg_pool1d avg_pool3d pixel_unshuffle rms_norm"
)


def _operation(name: str, function: Callable[..., Any]) -> type[Operation]:
    title = "".join(part.title() for part in name.split("_"))
    members = {"function": staticmethod(function), "__module__": __name__, "__doc__": f"`{name}` as a module."}
    return type(title, (Operation,), members)


_CLASSES = {
    **{name: _operation(name, getattr(torch, name)) for name in _OF_TORCH.split()},
    **{name: _operation(name, getattr(F, name)) for name in _OF_FUNCTIONAL.split()},
    **{name: _operation(name, getattr(Tensor, name)) for name in ("to",)},
}
globals().update({kind.__name__: kind for kind in _CLASSES.values()})  # pickle finds a class by its name in the file


def operation(name: str) -> Operation:
    """A module that calls torch's function of this name, and nothing else."""
    return _CLASSES[name]()


class Reshape(nn.Module):
    """A tensor in another shape, which may be numbers computed from other tensors' shapes.

    keeps_zero: a length of 0 is the input's own at that place. batch: (axis of the input, its length in the file, axis
    of the result) where the file's numbers hold the number of images.
    """

    def __init__(self, keeps_zero: bool = True):
        super().__init__()
        self.keeps_zero = keeps_zero
        self.batch: tuple[int, int, int] | None = None

    def forward(self, x: Tensor, shape: Numbers) -> Tensor:
        lengths = [x.shape[i] if self.keeps_zero and length == 0 else length for i, length in enumerate(shape)]
        if self.batch is not None:
            axis, length, to = self.batch
            lengths[to] = lengths[to] * x.shape[axis] // length
        return x.reshape(lengths)


class Getitem(nn.Module):
    """Part of a tensor along some axes, in steps forward."""

    def forward(self, x: Tensor, starts: Numbers, ends: Numbers, axes: Numbers, steps: Numbers) -> Tensor:
        index = [slice(None)] * x.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            index[int(axis)] = slice(start, end, step)
        return x[tuple(index)]


class Flip(nn.Module):
    """A whole axis backwards."""

    def __init__(self, axes: Sequence[int]):
        super().__init__()
        self.axes = tuple(axes)

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(self.axes)


class Expand(nn.Module):
    """A tensor repeated to a shape; a length of 1 there keeps the tensor's own."""

    def forward(self, x: Tensor, shape: Numbers) -> Tensor:
        missing = len(shape) - x.ndim
        own = [1] * missing + list(x.shape)
        wanted = [1] * -missing + list(shape)
        return x.expand([mine if length == 1 else length for mine, length in zip(own, wanted, strict=True)])


class Cat(nn.Module):
    """Tensors one behind the other.

    follows_batch: a constant among them, of one image in the file, is repeated for as many as the others hold.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim, self.follows_batch = dim, False

    def forward(self, *tensors: Tensor) -> Tensor:
        if self.follows_batch:
            images = max(tensor.shape[0] for tensor in tensors)
            tensors = tuple(t.expand(images, *t.shape[1:]) if t.shape[0] == 1 else t for t in tensors)
        return torch.cat(tensors, self.dim)


class Conv(nn.Module):
    """A convolution whose weight is computed by the network."""

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[x.ndim - 2]
        return convolve(x, weight, bias, **self.options)


class SamePad(nn.Module):
    """Padding as TensorFlow's "same" asks, so that a layer's result has length / stride values.

    mode: as `F.pad` has it, "constant" for zeros. at_end: the odd one goes to the end.
    """

    def __init__(
        self, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], mode: str, *, at_end: bool
    ):
        super().__init__()
        self.windows = list(zip(kernel, stride, dilation, strict=True))
        self.mode, self.at_end = mode, at_end

    def forward(self, x: Tensor) -> Tensor:
        edges: list[int] = []
        for length, (kernel, stride, dilation) in zip(reversed(x.shape), reversed(self.windows), strict=False):
            missing = max((-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
            small, large = missing // 2, missing - missing // 2
            edges += [small, large] if self.at_end else [large, small]
        return F.pad(x, edges, self.mode)


class Unsqueeze(nn.Module):
    """New axes of length 1, counted in the result."""

    def forward(self, x: Tensor, axes: Numbers) -> Tensor:
        rank = x.ndim + len(axes)
        for axis in sorted(int(axis) % rank for axis in axes):
            x = x.unsqueeze(axis)
        return x


class IndexSelect(nn.Module):
    """Entries along an axis, by indices of any shape, which count from the end where they are negative."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        dim = self.dim % x.ndim
        flat = index.reshape(-1).long()
        picked = x.index_select(dim, torch.where(flat < 0, flat + x.shape[dim], flat))
        return picked if index.ndim == 1 else picked.reshape(*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])


class GatherND(nn.Module):
    """Entries by tuples of indices in the last axis."""

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return x[tuple(index.unbind(-1))]


class ScatterND(nn.Module):
    """A copy with other values at tuples of indices."""

    def forward(self, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        changed = x.clone()
        changed[tuple(index.unbind(-1))] = updates
        return changed


class DepthToSpace(nn.Module):
    """Channels to a block of pixels each, the block's place counting before the channel."""

    def __init__(self, block: int):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        images, channels, height, width = x.shape
        b = self.block
        parts = x.reshape(images, b, b, channels // (b * b), height, width)
        return parts.permute(0, 3, 4, 1, 5, 2).reshape(images, channels // (b * b), height * b, width * b)


class SpaceToDepth(nn.Module):
    """Blocks of pixels to channels, the block's place counting before the channel."""

    def __init__(self, block: int):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        images, channels, height, width = x.shape
        b = self.block
        parts = x.reshape(images, channels, height // b, b, width // b, b)
        return parts.permute(0, 3, 5, 1, 2, 4).reshape(images, channels * b * b, height // b, width // b)


class Interpolate(nn.Module):
    """A resize to a size, or by scales, of the axes behind the channels."""

    def __init__(self, mode: str, align_corners: bool | None, antialias: bool = False):
        super().__init__()
        self.mode, self.align_corners, self.antialias = mode, align_corners, antialias

    def forward(self, x: Tensor, size: Numbers | None, scales: Sequence[float] | None) -> Tensor:
        lengths = None if size is None else list(size)[-(x.ndim - 2) :]
        factors = None if scales is None else list(scales)
        return F.interpolate(x, lengths, factors, self.mode, align_corners=self.align_corners, antialias=self.antialias)


class Full(nn.Module):
    """A constant of a shape that is computed."""

    def __init__(self, value: float, dtype: torch.dtype):
        super().__init__()
        self.value, self.dtype = value, dtype

    def forward(self, shape: Numbers) -> Tensor:
        return torch.full(list(shape), self.value, dtype=self.dtype)


class AsTensor(nn.Module):
    """Numbers that a tensor's operations are to read."""

    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, numbers: np.ndarray) -> Tensor:
        return torch.tensor(numbers.tolist(), dtype=self.dtype)
