"""SQNR."""

import math

from qdiag.numerics.metrics.metric import FormatFacts, Metric
from qdiag.numerics.moments import Moments


class Sqnr(Metric):
    """Signal-to-quantization-noise ratio: 10 log10(sum r^2 / sum e^2); inf when equal, -inf when only r is zero."""

    key = "sqnr_db"
    title = "SQNR"
    unit = "dB"
    help = "signal power over error power; 6 dB are one bit"
    format = ".1f"

    @staticmethod
    def compute(moments: Moments, facts: FormatFacts | None) -> float | None:
        return sqnr_db(moments.ref2, moments.err2)


def relative_noise(signal: float, noise: float) -> float:
    """Noise over signal power: 0 where both are none, inf where there is noise alone.

    Args:
        signal: The reference's sum of squares.
        noise: The error's.

    >>> relative_noise(100.0, 1.0), relative_noise(0.0, 0.0), relative_noise(0.0, 1.0)
    (0.01, 0.0, inf)
    """
    return noise / signal if signal else (math.inf if noise else 0.0)


def sqnr_db(signal: float, noise: float) -> float:
    """The ratio of two sums of squares in dB; inf without noise, -inf where there is noise alone.

    Args:
        signal: Of the reference.
        noise: Of the error.

    >>> sqnr_db(100.0, 1.0), sqnr_db(0.0, 0.0), sqnr_db(0.0, 1.0)
    (20.0, inf, -inf)
    """
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
