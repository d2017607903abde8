"""Elementwise add and multiply, concat and resize as modules.

`x + y` and `AddBlock()(x, y)` compute the same; what differs is who answers for the result. The target stores the sum
in a format of its own, so the sum needs a range, and its error a line in a table. A module gives both an owner with a
name (`layer1.0.add`), which a plan can set to 16 bits and which is found again in the exported graph. The functional
form works too: it goes by the name of the module that it ran in.

May import: errors.
"""

import warnings
from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from qdiag.errors import InputError, OptionError

Mode = Literal["nearest", "bilinear"]
Size = int | Sequence[int]
ScaleFactor = float | Sequence[float]


class AddBlock(nn.Module):
    """Elementwise sum of two or more tensors, out of place.

    Use it for a shortcut. The sum has a wider range than either branch, and is often the first tensor of a block to
    run out of bits: as a module, its range and its error statistics are kept under its own name.

    Shapes: any that broadcast against each other. The tensors come one by one, or in one list or tuple.

    >>> AddBlock()(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]))
    tensor([11., 22.])
    """

    def forward(self, *tensors: Tensor | Sequence[Tensor]) -> Tensor:
        """The sum.

        Args:
            *tensors: One by one, or in one list or tuple.

        Raises:
            InputError: When there is nothing to add.
        """
        return reduce(torch.add, _operands(self, tensors))


class MulBlock(nn.Module):
    """Elementwise product of two or more tensors, out of place.

    Use it for a gate, as in squeeze-and-excitation: the product has a range of its own, which a module keeps.

    Shapes: any that broadcast against each other. The tensors come one by one, or in one list or tuple.

    >>> MulBlock()(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]))
    tensor([10., 40.])
    """

    def forward(self, *tensors: Tensor | Sequence[Tensor]) -> Tensor:
        """The product.

        Args:
            *tensors: One by one, or in one list or tuple.

        Raises:
            InputError: When there is nothing to multiply.
        """
        return reduce(torch.mul, _operands(self, tensors))


class CatBlock(nn.Module):
    """Concatenation of tensors along one dimension, by default the channels.

    The branches of a concat share the output's format, so the widest of them decides the precision of all: as a
    module, that one range is kept under a name, beside the error which each branch takes from it.

    Shapes: equal but for `dim`. The tensors come one by one, or in one list or tuple.

    Args:
        dim: The dimension that grows.

    >>> CatBlock()(torch.zeros(1, 3, 8, 8), torch.ones(1, 5, 8, 8)).shape
    torch.Size([1, 8, 8, 8])
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *tensors: Tensor | Sequence[Tensor]) -> Tensor:
        """The concatenation.

        Args:
            *tensors: One by one, or in one list or tuple.

        Raises:
            InputError: When there is nothing to concatenate.
        """
        return torch.cat(_operands(self, tensors), dim=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class ResizeWith(nn.Module):
    """Resizes a feature map to a size, by a scale factor, or to the size of a second tensor.

    A bilinear resize makes new values, which are rounded to a format of their own: as a module, that format and its
    error are kept under its own name. See `resize_with` for the options and for the exported graph.

    Shapes: (N, C, H, W) -> (N, C, H', W').

    Args:
        size: As for `resize_with`.
        scale_factor: As for `resize_with`.
        mode: As for `resize_with`.
        align_corners: As for `resize_with`.

    Raises:
        OptionError: For a mode, or a combination of options, that is not on offer.

    >>> ResizeWith(scale_factor=2)(torch.zeros(1, 3, 8, 8)).shape
    torch.Size([1, 3, 16, 16])
    >>> ResizeWith(mode="bilinear")(torch.zeros(1, 3, 8, 8), torch.zeros(1, 7, 12, 20)).shape
    torch.Size([1, 3, 12, 20])
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: ScaleFactor | None = None,
        mode: Mode = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        _check_mode(mode, align_corners)
        if size is not None and scale_factor is not None:
            raise OptionError(
                "ResizeWith got both size and scale_factor. Give one, or neither and a reference tensor.",
                code="resize-arguments",
            )
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode

    def forward(
        self, x: Float[Tensor, "n c h w"], reference: Float[Tensor, "..."] | None = None
    ) -> Float[Tensor, "n c h2 w2"]:
        """The map in its new size.

        Args:
            x: A map.
            reference: A tensor whose last two dimensions are the size wanted.

        Raises:
            OptionError: Unless exactly one of the module's size, its scale factor and `reference` is given.
        """
        return resize_with(x, self.size, self.scale_factor, self.mode, reference=reference)

    def extra_repr(self) -> str:
        return f"size={self.size}, scale_factor={self.scale_factor}, mode={self.mode!r}"


def resize_with(
    x: Float[Tensor, "n c h w"],
    size: Size | None = None,
    scale_factor: ScaleFactor | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
    *,
    reference: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "n c h2 w2"]:
    """Resizes `x` so that the exported ONNX graph holds one Resize and nothing around it.

    Give exactly one of `size`, `scale_factor` and `reference`. An enlargement by whole factors is exported with its
    scales, the one form that every exporter writes without Shape and Slice nodes; any other size with its sizes.

    Args:
        x: A map.
        size: Height and width, or one number for both.
        scale_factor: Of height and width, or one number for both.
        mode: "nearest" or "bilinear".
        align_corners: False or None: the target cannot align corners.
        reference: A tensor whose last two dimensions are the size wanted.

    Raises:
        OptionError: For a mode, or a combination of options, that is not on offer.

    >>> resize_with(torch.tensor([[[[1.0, 2.0]]]]), scale_factor=2)
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """
    _check_mode(mode, align_corners)
    if sum(option is not None for option in (size, scale_factor, reference)) != 1:
        raise OptionError(
            "resize_with needs exactly one of size, scale_factor and reference. Remove or add one.",
            code="resize-arguments",
        )
    if reference is not None:
        size = _spatial_size(reference)
    if size is not None:
        scale_factor = _whole_factors(_spatial_size(x), _pair(size))
    return F.interpolate(
        x,
        size=size if scale_factor is None else None,
        scale_factor=scale_factor,
        mode=mode,
        align_corners=False if mode == "bilinear" else None,
    )


def _operands(block: nn.Module, arguments: tuple[Tensor | Sequence[Tensor], ...]) -> list[Tensor]:
    """The tensors of a call, whether they came one by one or in a list or tuple."""
    operands: list[Tensor] = []
    for argument in arguments:
        operands.extend([argument] if isinstance(argument, Tensor) else argument)
    if not operands:
        raise InputError(
            f"{type(block).__name__} was called without a tensor. Call it as block(x, y) or block([x, y]).",
            code="no-tensor",
        )
    return operands


def _check_mode(mode: str, align_corners: bool | None) -> None:
    if mode not in ("nearest", "bilinear"):
        raise OptionError(f"No resize mode {mode!r}. Use 'nearest' or 'bilinear'.", code="resize-mode")
    if align_corners:
        raise OptionError(
            "A resize with align_corners=True does not run on the target. Leave align_corners out.", code="resize-mode"
        )


def _spatial_size(x: Tensor) -> tuple[int, int]:
    height, width = x.shape[-2:]
    if not torch.jit.is_tracing():
        return height, width
    with warnings.catch_warnings():  # a size that becomes a constant is what is wanted here
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return int(height), int(width)


def _pair(size: Size) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if len(size) != 2:
        raise OptionError(
            f"A resize needs a height and a width, not {list(size)}. Give two numbers, or one for both.",
            code="resize-arguments",
        )
    return size[0], size[1]


def _whole_factors(have: tuple[int, int], want: tuple[int, int]) -> tuple[float, float] | None:
    """How many times larger `want` is in height and width; None if not a whole number, or not known yet.

    Only whole factors give `want` back exactly after the graph has rounded them to float32. A size that
    `torch.export` keeps symbolic is no int and must not be asked, which would fix it.
    """
    pairs = list(zip(have, want, strict=True))
    if all(isinstance(n, int) for pair in pairs for n in pair) and all(b % a == 0 for a, b in pairs):
        height, width = (float(b // a) for a, b in pairs)
        return height, width
    return None
