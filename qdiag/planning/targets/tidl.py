"""TI Deep Learning (TIDL) on TDA4x."""

from qdiag.numerics.rounding import Rounding
from qdiag.planning.targets.target import Target


class Tidl(Target):
    """Adds one half and shifts right."""

    name = "tidl"
    rounding = Rounding.HALF_UP
