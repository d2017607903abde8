"""From reals to the reals that a format can hold."""

import torch
from jaxtyping import Float
from torch import Tensor

from qdiag.numerics.qparams import QParams
from qdiag.numerics.rounding import Rounding


def fake_quantize(x: Float[Tensor, "..."], qparams: QParams) -> Float[Tensor, "..."]:
    """x rounded to the format's grid and clamped to its ends: clamp(round(x / 2^k)) * 2^k, same shape and type.

    Args:
        x: Any values.
        qparams: The format; with a scale for each channel where x has its axis.

    >>> from qdiag.numerics.qtype import QType
    >>> fake_quantize(torch.tensor([0.3, 0.5, 9.0]), QParams(QType(4, signed=True), -1))
    tensor([0.5000, 0.5000, 3.5000])
    """
    scale = qparams.scale(x)
    return qparams.rounding(x / scale).clamp_(qparams.qtype.qmin, qparams.qtype.qmax).mul_(scale)


def fake_quantize_(
    x: Float[Tensor, "..."], qparams: QParams, bounds: tuple[float, float] | None = None
) -> Float[Tensor, "..."]:
    """`fake_quantize` for a per-tensor format in x's own memory, with the bounds of a ReLU-like activation merged in.

    Rounding and clamping are monotonic: clamping to rounded bounds afterwards equals activating first.

    Args:
        x: Overwritten, and returned.
        qparams: A per-tensor format.
        bounds: Least and greatest value after the activation; they are rounded to the grid too.

    >>> from qdiag.numerics.qtype import QType
    >>> fake_quantize_(torch.tensor([-1.0, 0.3, 9.0]), QParams(QType(4, signed=True), -1), bounds=(0.0, 2.0))
    tensor([0.0000, 0.5000, 2.0000])
    """
    scale = qparams.tensor_scale
    qmin, qmax = integer_bounds(qparams, bounds)
    if qparams.rounding is Rounding.HALF_UP:
        half = torch.tensor(0.5, dtype=x.dtype, device=x.device)
        torch.add(half, x, alpha=1.0 / scale, out=x).floor_()  # one pass for scaling and adding
    else:
        x.mul_(1.0 / scale).round_()
    return x.clamp_(qmin, qmax).mul_(scale)


def integer_bounds(qparams: QParams, bounds: tuple[float, float] | None) -> tuple[float, float]:
    """The least and the greatest code of a per-tensor format, with an activation's bounds merged in.

    Args:
        qparams: A per-tensor format.
        bounds: Least and greatest value after the activation; None where there is none.

    >>> from qdiag.numerics.qtype import QType
    >>> integer_bounds(QParams(QType(8, signed=True), -5), (0.0, 1.0))
    (0.0, 32.0)
    """
    scale, qtype = qparams.tensor_scale, qparams.qtype
    if bounds is None:
        return qtype.qmin, qtype.qmax
    low, high = (_on_grid(bound / scale, qparams.rounding) for bound in bounds)
    return max(qtype.qmin, low), min(qtype.qmax, high)


def _on_grid(x: float, rounding: Rounding) -> float:
    return float(rounding(torch.tensor(x, dtype=torch.float64)))
