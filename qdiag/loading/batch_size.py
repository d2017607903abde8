"""Numbers of the file that hold the number of images, mended so that any number goes through."""

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from qdiag.errors import InputError
from qdiag.loading.modules import Cat, Reshape


def follow_batch(
    module: nn.Module, args: Sequence[Any], before: Sequence[Any], now: Sequence[Any], images: int
) -> None:
    """Let a module follow the number of images, which its numbers hold.

    args: what the file calls it with, literal numbers among them. before: its tensors for so many `images`, as the
    file says; now: for another number.
    """
    if isinstance(module, Reshape) and isinstance(args[1], (list, tuple)) and all(map(_is_number, args[1])):
        module.batch = _followed(before[0].shape, now[0].shape, args[1], images)
    elif isinstance(module, Cat) and len({tensor.shape[0] for tensor in now}) > 1 and module.dim % now[0].ndim:
        module.follows_batch = all(len(set(pair)) == 1 for pair in zip(*(t.shape[:1] for t in before), strict=True))


class FixedBatch(nn.Module):
    """Lets one number of images through."""

    def __init__(self, images: int, why: str):
        super().__init__()
        self.images, self.why = images, why

    def forward(self, x: Tensor) -> Tensor:
        """Raises InputError for any other number."""
        if x.shape[0] != self.images:
            raise InputError(
                f"the network takes {self.images} image(s) at a time, and {x.shape[0]} were given. {self.why}. Give "
                f"data in batches of {self.images}, or export the file with a dynamic batch.",
                code="batch-size",
            )
        return x


def _is_number(length: Any) -> bool:
    return isinstance(length, int)


def _followed(
    before: Sequence[int], now: Sequence[int], shape: Sequence[int], images: int
) -> tuple[int, int, int] | None:
    """(the input's axis that holds the images, its length in the file, the result's axis that does)."""
    changed = [axis for axis, (a, b) in enumerate(zip(before, now, strict=True)) if a != b]
    if len(changed) != 1:
        return None
    axis = changed[0]
    places = _places(before, axis, _resolved(before, shape), images)
    if not places or any(shape[place] in (-1, 0) for place in places):
        return None  # a -1 there, or the input's own length, follows by itself
    return axis, before[axis], places[0]


def _places(before: Sequence[int], axis: int, lengths: Sequence[int], images: int) -> list[int]:
    """The result's axes that may hold the images, the likeliest first.

    Either all in front of them stays as it was, or all behind. Where each names another axis: one that is as long as
    there are images; else heads that are taken apart count with the images, and heads that are put together do not.
    """
    ahead = [place for place in range(len(lengths)) if prod(lengths[:place]) == prod(before[:axis])]
    behind = [place for place in range(len(lengths)) if prod(lengths[place + 1 :]) == prod(before[axis + 1 :])]
    both = [place for place in ahead if place in behind]
    as_long = [place for place in (*ahead, *behind) if lengths[place] == images]
    is_taken_apart = bool(behind) and len(lengths) - behind[0] > len(before) - axis
    return as_long or both or (ahead if before[axis] > images or is_taken_apart else behind) or ahead or behind


def _resolved(before: Sequence[int], shape: Sequence[int]) -> list[int]:
    """The result's shape in the file, without -1 and 0."""
    lengths = [before[place] if length == 0 else int(length) for place, length in enumerate(shape)]
    if -1 in lengths:
        rest = prod(length for length in lengths if length != -1)
        lengths[lengths.index(-1)] = prod(before) // rest
    return lengths
