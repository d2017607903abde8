"""The ways in which a device may round: more than a plan offers, so that the one it took is recognized."""

from collections.abc import Callable

import torch
from torch import Tensor

from qdiag.numerics.rounding import Rounding

ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "half up": lambda x: (x + 0.5).floor(),
    "half to even": torch.round,
    "half away from zero": lambda x: (x.abs() + 0.5).floor() * x.sign(),
    "half toward zero": lambda x: (x.abs() - 0.5).ceil() * x.sign(),
    "half down": lambda x: (x - 0.5).ceil(),
    "down": torch.floor,
    "up": torch.ceil,
    "toward zero": torch.trunc,
}
"""By their names in words."""

OF_TIES = frozenset(name for name in ROUNDINGS if name.startswith("half"))
"""Those that differ from one another at ties alone."""

_NAMES = {Rounding.HALF_UP: "half up", Rounding.HALF_EVEN: "half to even"}


def in_words(rounding: Rounding) -> str:
    """The name here of what a plan rounds with.

    >>> in_words(Rounding.HALF_EVEN)
    'half to even'
    """
    return _NAMES[rounding]


def residue(rounding: str) -> tuple[float, float]:
    """The least and the greatest distance from a value to the integer that it becomes.

    >>> residue("half up"), residue("down")
    ((-0.5, 0.5), (-1.0, 0.0))
    """
    if rounding in OF_TIES:
        return -0.5, 0.5
    return {"down": (-1.0, 0.0), "up": (0.0, 1.0)}.get(rounding, (-1.0, 1.0))
