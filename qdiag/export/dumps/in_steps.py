"""A device's tensor in steps of the format that the simulation stores it in."""

import math
from collections.abc import Sequence

import numpy as np

from qdiag.export.dumps.dump import Array, DumpedTensor, UnfitTensor
from qdiag.numerics.power_of_two import scale_text
from qdiag.numerics.qparams import QParams


def in_steps(found: Sequence[DumpedTensor], qparams: QParams, shape: tuple[int, ...]) -> Array:
    """What the device stored of one tensor, in this shape; where integers and floats are there, the integers.

    Raises UnfitTensor.
    """
    if not found:
        raise UnfitTensor("missing", "was not dumped, or under a name that is not known here")
    kinds = {tensor.is_integer: tensor for tensor in found}
    if len(kinds) < len(found):
        raise UnfitTensor("twice", f"more than one tensor has this name: {', '.join(tensor.file for tensor in found)}")
    values = {is_integer: _read(tensor, qparams, shape) for is_integer, tensor in kinds.items()}
    if len(values) == 2:
        _check_scale(values[True], values[False], qparams)
    return values[True].astype(np.float64) if True in values else values[False] / qparams.tensor_scale


def _read(tensor: DumpedTensor, qparams: QParams, shape: tuple[int, ...]) -> Array:
    if _without_ones(tensor.shape) != _without_ones(shape):
        raise UnfitTensor("mis-sized", f"is {list(tensor.shape)}, and the simulation stores {list(shape)} here")
    values = tensor.load(qparams.qtype)
    if not tensor.is_integer:
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise UnfitTensor("wrong type", "holds NaN or infinity")
    return values.reshape(shape)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A device may hold [1, 10] as [1, 1, 1, 10]."""
    return tuple(length for length in shape if length != 1)


def _check_scale(integers: Array, floats: Array, qparams: QParams) -> None:
    """Raises UnfitTensor where a step is not worth as much on the device as in the simulation."""
    used = integers != 0
    if not used.any():
        return
    step = float(np.median(floats[used] / integers[used]))
    if not math.isclose(step, qparams.tensor_scale, rel_tol=1e-3):
        raise UnfitTensor(
            "another scale",
            f"a step is worth {step:.6g} on the device, and {scale_text(qparams.tensor_scale)} in the simulation",
        )
